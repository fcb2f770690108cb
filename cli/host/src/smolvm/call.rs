//! One call of smolvm: bounded in time and in what is kept of its output.

use crate::defence::Defence;
use bottle_core::visible::Line;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Several times what smolvm takes for anything but fetching an image, also under emulation.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The most that is kept of what a call prints on each of its streams. A thousand machines are listed
/// in less, and an error is at its end.
pub const MOST: usize = 4 << 20;
/// How long the streams of a call that has ended may stay open in other hands.
const REST: Duration = Duration::from_secs(1);

/// What a call printed, and how it ended.
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// The last of its standard output.
    pub out: Vec<u8>,
    /// The last of its standard error.
    pub err: Vec<u8>,
    /// Whether `out` is all of it.
    pub whole: bool,
}

/// Runs a command to its end, or ends it at the limit: what smolvm waits for may never come, and
/// nobody is to hang because of that.
pub fn bounded(mut command: Command, limit: Option<Duration>) -> io::Result<Said> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take().map(tail), child.stderr.take().map(tail));
    let pid = Pid::from_child(&child);
    let (done, waited) = mpsc::channel();
    thread::spawn(move || done.send(child.wait()));
    let status = match limit {
        Some(limit) => waited.recv_timeout(limit).unwrap_or_else(|_| {
            let _ = kill_process(pid, Signal::KILL);
            Err(ErrorKind::TimedOut.into())
        })?,
        None => waited.recv().map_err(io::Error::other)??,
    };
    // Whoever still holds a stream, a machine's process say, does not hold us up.
    let kept = |kept: Option<mpsc::Receiver<(Vec<u8>, bool)>>| {
        kept.and_then(|kept| kept.recv_timeout(REST).ok()).unwrap_or_default()
    };
    let ((out, whole), (err, _)) = (kept(out), kept(err));
    Ok(Said { status, out, err, whole })
}

/// Reads a stream to its end on a thread of its own: the last of it, and whether that is all of it.
fn tail(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<(Vec<u8>, bool)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut kept, mut whole, mut piece) = (Vec::new(), true, vec![0; 64 << 10]);
        while let Ok(read) = stream.read(&mut piece)
            && read > 0
        {
            kept.extend_from_slice(&piece[..read]);
            if kept.len() > 2 * MOST && Defence::BoundedReads.stands() {
                kept.drain(..kept.len() - MOST);
                whole = false;
            }
        }
        let _ = sender.send((kept, whole));
    });
    receiver
}

/// The most characters of a failed call's words that are shown.
const WORDS: usize = 600;

/// The last lines of what a failed call said.
pub fn last_words(said: &Said) -> String {
    let last = &said.err[said.err.len().saturating_sub(64 << 10)..];
    let text = String::from_utf8_lossy(last);
    // Its own log has colours, which are nobody's here.
    let text = anstream::adapter::strip_str(&text).to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("note:") && !line.starts_with("Starting machine")
        })
        .collect();
    let words = lines[lines.len().saturating_sub(3)..].join(" ");
    // The guest's console follows, a screen of JSON.
    match words.split(": guest console:").next().unwrap_or_default() {
        "" => format!("it ended with {}", said.status),
        words => {
            let words: String = words.trim_start_matches("Error: ").chars().take(WORDS).collect();
            if Defence::Visible.stands() { Line(&words).to_string() } else { words }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_call_prints_is_kept_up_to_a_limit() {
        let said = bounded(sh("head -c 50000000 /dev/zero; echo end; echo few >&2"), Some(PATIENCE)).unwrap();
        assert!(
            !said.whole && said.out.len() <= 3 * MOST && said.out.ends_with(b"end\n"),
            "{}",
            said.out.len()
        );
        assert_eq!(said.err, b"few\n");
        let said = bounded(sh("echo few"), Some(PATIENCE)).unwrap();
        assert!(said.whole && said.out == b"few\n");
    }

    #[test]
    fn a_call_that_does_not_end_is_ended_and_one_whose_stream_stays_open_is_not_waited_for() {
        let since = Instant::now();
        let ended = bounded(sh("sleep 60"), Some(Duration::from_millis(100)));
        assert_eq!(ended.err().map(|error| error.kind()), Some(ErrorKind::TimedOut));
        assert!(bounded(sh("sleep 7 & exit 0"), None).unwrap().status.success());
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }

    #[test]
    fn a_guests_words_in_an_error_stay_on_their_line_and_are_few() {
        let said = bounded(sh(r"printf 'Error: a\033]52;c;x\007\nb \342\200\256 c\r\nd' >&2; exit 1"), None);
        let words = last_words(&said.unwrap());
        assert!(!words.contains(|c: char| c.is_control() || c == '\u{202e}'), "{words:?}");
        let said = bounded(sh("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), None).unwrap();
        assert_eq!(last_words(&said).len(), WORDS);
    }
}
