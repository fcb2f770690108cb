//! Runs a command in a guest, counts what it writes, and learns how it ended.

use super::context::Context;
use crate::ended::{Came, Ended, Stopped};
use crate::lifecycle::signals::{Event, Events};
use bottle_core::execution::Execution;
use bottle_core::helper::HELPER;
use bottle_core::slug::Slug;
use bottle_guest::report::{self, Report};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::{Smolvm, Terminal};
use bottle_host::{random, tools};
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much longer than its command a call may take before it is given up on. The helper in the guest ends the command;
/// a guest can end the helper.
pub const SLACK: Duration = Duration::from_secs(30);
/// How long a command that was told to end may take: more than the helper takes to kill it.
const GRACE: Duration = Duration::from_secs(12);
/// How long somebody else may hold a stream open after the command has ended.
const REST: Duration = Duration::from_secs(1);

/// Runs a command to its end.
///
/// # Errors
/// Returns an error if there is no such bottle, or smolvm cannot be run.
pub fn run(
    context: &Context,
    slug: Option<Slug>,
    how: &Execution,
    most: Option<u64>,
    words: &[String],
) -> Outcome<Ended> {
    let folder = context.running(slug)?;
    let (slug, smolvm) = (folder.slug().clone(), tools::smolvm()?);
    // No command prints it by accident.
    let word = random::hex::<8>()?;
    let limit = how.timeout.and_then(|timeout| timeout.checked_add(SLACK));
    let how = Execution { report: Some(word.clone()), ..how.clone() };
    let mut call = smolvm.exec(&slug, Terminal::Pipe, &how.words(words));
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_parent(&mut call, Signal::TERM);
    let events = Events::catch()?;
    let cannot = |error| Failure::new(Kind::Internal, format!("cannot run smolvm: {error}"));
    let mut child = call.spawn().map_err(cannot)?;
    events.watch(&child)?;
    let stop = Arc::new(Stop { smolvm, slug, word, stopped: Mutex::new(None) });
    let most = most.unwrap_or(u64::MAX);
    let out = child.stdout.take().map(|from| {
        pump(Pump { from, to: io::stdout(), left: most, came: 0, stop: Arc::clone(&stop) }, false)
    });
    let err = child.stderr.take().map(|from| {
        pump(Pump { from, to: io::stderr(), left: most, came: 0, stop: Arc::clone(&stop) }, true)
    });
    let since = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let rest = match told {
            Some(told) => Some(GRACE.saturating_sub(told.elapsed())),
            None => limit.map(|limit| limit.saturating_sub(since.elapsed())),
        };
        match events.next(rest) {
            Some(Event::Ended) => break,
            Some(Event::Signal(signal)) => {
                stop.because(Stopped::Signal(signal));
                told = told.or_else(|| Some(Instant::now()));
            }
            None if told.is_none() => {
                stop.because(Stopped::Late);
                told = Some(Instant::now());
            }
            None => {
                child.kill().map_err(cannot)?;
                break;
            }
        }
    }
    child.wait().map_err(cannot)?;
    let rest = |pumped: Option<Receiver<Pumped>>| {
        pumped.and_then(|pumped| pumped.recv_timeout(REST).ok()).unwrap_or_default()
    };
    let (out, err) = (rest(out), rest(err));
    let came = Came { stdout: out.came, stderr: err.came };
    let stopped = *stop.stopped.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Ended::of(err.report, stopped, came))
}

/// Ends a command in its guest, once.
struct Stop {
    smolvm: Smolvm,
    slug: Slug,
    word: String,
    stopped: Mutex<Option<Stopped>>,
}

impl Stop {
    /// Tells the helper to end the command, and does not wait for it. The first reason counts.
    fn because(self: &Arc<Self>, why: Stopped) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped.is_some() {
            return;
        }
        *stopped = Some(why);
        drop(stopped);
        let stop = Arc::clone(self);
        thread::spawn(move || {
            let words = [HELPER, "end", &stop.word];
            let mut call = stop.smolvm.exec(&stop.slug, Terminal::Pipe, &words);
            let _ = call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        });
    }
}

/// What came through.
#[derive(Default)]
struct Pumped {
    came: u64,
    report: Option<Report>,
}

/// A stream on its way.
struct Pump<F, T> {
    from: F,
    to: T,
    left: u64,
    came: u64,
    stop: Arc<Stop>,
}

/// Passes a stream on, up to a limit. What is above it is read and dropped, so that nobody waits. With `reported`, the
/// helper's report at its end is not passed on.
fn pump<F: Read + Send + 'static, T: Write + Send + 'static>(
    mut pump: Pump<F, T>,
    reported: bool,
) -> Receiver<Pumped> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut buffer, mut held) = (vec![0; 64 << 10], Vec::new());
        loop {
            match pump.from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    held.extend_from_slice(&buffer[..read]);
                    let keep = if reported { begun(&held) } else { held.len() };
                    pump.pass(&held[..keep]);
                    held.drain(..keep);
                }
            }
        }
        let found = reported.then(|| Report::split(&held, &pump.stop.word)).flatten();
        let (end, report) = found.map_or((held.len(), None), |(at, report)| (at, Some(report)));
        pump.pass(&held[..end]);
        let _ = sender.send(Pumped { came: pump.came, report });
    });
    receiver
}

/// Returns where a report may begin in what came so far: at the last zero byte, unless that is too long ago.
fn begun(held: &[u8]) -> usize {
    let last = held.iter().rposition(|byte| *byte == 0);
    last.filter(|at| held.len() - at <= report::LONGEST).unwrap_or(held.len())
}

impl<F, T: Write> Pump<F, T> {
    fn pass(&mut self, bytes: &[u8]) {
        self.came += bytes.len() as u64;
        let keep = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        // Nobody may read it any more, and the command goes on.
        let _ = self.to.write_all(&bytes[..keep]).and_then(|()| self.to.flush());
        self.left -= keep as u64;
        if keep < bytes.len() {
            self.stop.because(Stopped::Output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_begin_a_report_is_held_back() {
        assert_eq!(begun(b"plain"), 5);
        assert_eq!(begun(b"plain\0bottle"), 5);
        assert_eq!(begun(b"a\0b\0c"), 3);
        let long = [b"\0".as_slice(), &[b'x'; report::LONGEST]].concat();
        assert_eq!(begun(&long), long.len());
    }
}
