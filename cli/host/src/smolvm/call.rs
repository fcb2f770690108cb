//! A call of smolvm, with limits on its time and on how much of its output is kept.

use crate::defence::Defence;
use bottle_core::visible::Line;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a call may take: several times what smolvm needs for anything but fetching an image, even under
/// emulation.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How many bytes of each output stream are kept. A list of a thousand machines is shorter, and an error
/// message is at the end.
pub const MOST: usize = 4 << 20;
/// How long another process may keep the streams of a finished call open.
const REST: Duration = Duration::from_secs(1);

/// How a call ended, and what it printed.
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// The end of its standard output.
    pub out: Vec<u8>,
    /// The end of its standard error.
    pub err: Vec<u8>,
    /// Whether `out` is complete.
    pub whole: bool,
}

/// Runs a command to its end, or kills it at the limit. smolvm may wait for something that never comes, and
/// bottle must not hang because of that.
pub fn bounded(mut command: Command, limit: Option<Duration>) -> io::Result<Finished> {
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
    // If another process, like a machine's, still holds a stream, it does not hold us up.
    let kept = |kept: Option<mpsc::Receiver<(Vec<u8>, bool)>>| {
        kept.and_then(|kept| kept.recv_timeout(REST).ok()).unwrap_or_default()
    };
    let ((out, whole), (err, _)) = (kept(out), kept(err));
    Ok(Finished { status, out, err, whole })
}

/// Reads a stream to its end on its own thread. Sends the end of it, and whether that is all of it.
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

/// How many characters of a failed call's message are shown.
const WORDS: usize = 600;

/// Returns the last lines of a failed call's message.
pub fn last_words(finished: &Finished) -> String {
    let last = &finished.err[finished.err.len().saturating_sub(64 << 10)..];
    let text = String::from_utf8_lossy(last);
    // smolvm colours its own log, and we do not want its colours.
    let text = anstream::adapter::strip_str(&text).to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("note:") && !line.starts_with("Starting machine")
        })
        .collect();
    let words = lines[lines.len().saturating_sub(3)..].join(" ");
    // What follows is the guest's console, a screenful of JSON.
    match words.split(": guest console:").next().unwrap_or_default() {
        "" => format!("it ended with {}", finished.status),
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
        let finished =
            bounded(sh("head -c 50000000 /dev/zero; echo end; echo few >&2"), Some(PATIENCE)).unwrap();
        assert!(
            !finished.whole && finished.out.len() <= 3 * MOST && finished.out.ends_with(b"end\n"),
            "{}",
            finished.out.len()
        );
        assert_eq!(finished.err, b"few\n");
        let finished = bounded(sh("echo few"), Some(PATIENCE)).unwrap();
        assert!(finished.whole && finished.out == b"few\n");
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
        let finished =
            bounded(sh(r"printf 'Error: a\033]52;c;x\007\nb \342\200\256 c\r\nd' >&2; exit 1"), None);
        let words = last_words(&finished.unwrap());
        assert!(!words.contains(|c: char| c.is_control() || c == '\u{202e}'), "{words:?}");
        let finished = bounded(sh("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), None).unwrap();
        assert_eq!(last_words(&finished).len(), WORDS);
    }
}
