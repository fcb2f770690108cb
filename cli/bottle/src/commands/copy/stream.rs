//! Runs the helper in the guest, with both ends of its pipes. Neither silence nor a trickle holds anybody up,
//! and its error output is bounded.

use anyhow::Context;
use bottle_core::visible::Bytes;
use bottle_guest::report::Code;
use bottle_host::defence::Defence;
use bottle_host::failure::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long the guest may send or take nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// The fewest bytes a second that are worth waiting for, after that time.
const FEWEST: u64 = 4096;
/// How long the helper may take to end after its work is done.
const ENDING: Duration = Duration::from_secs(60);
/// How much of its error output is kept: the end of it.
const SAID: usize = 8192;

/// Why the helper failed, by its own word.
#[derive(Debug)]
pub struct Said {
    /// The kind of reason.
    pub code: Code,
    /// The reason.
    pub words: String,
}

/// The helper, running in the guest.
pub struct Guest {
    child: Child,
    said: Receiver<Vec<u8>>,
}

impl Guest {
    /// Starts the helper.
    pub fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn().context("smolvm")?;
        let (done, said) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || done.send(last_of(stderr)));
        }
        Ok(Self { child, said })
    }

    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for it to end, and returns why it failed, if it did.
    pub fn finish(mut self) -> Outcome<Result<(), Said>> {
        let limit = if Defence::TreeLimits.stands() { ENDING } else { Duration::MAX };
        let ended = ended_within(&mut self.child, limit).context("smolvm")?;
        let Some(status) = ended else {
            return Ok(Err(Said { code: Code::Other, words: "the helper did not end".to_owned() }));
        };
        if status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(Said { code: code(status), words: self.words().unwrap_or_else(|| status.to_string()) }))
    }

    /// Ends it, and returns its last message, if there was one.
    pub fn give_up(mut self) -> Option<Said> {
        // A helper that failed by itself is about to say why.
        let ended = ended_within(&mut self.child, Duration::from_secs(1)).ok().flatten();
        Some(Said { code: ended.map_or(Code::Other, code), words: self.words()? })
    }

    /// Returns the last line that the helper itself wrote.
    fn words(&self) -> Option<String> {
        // A program that it left behind may hold the pipe open.
        let said = self.said.recv_timeout(Duration::from_secs(2)).ok()?;
        let mut lines = said.rsplit(|byte| *byte == b'\n');
        lines.find_map(|line| Some(Bytes(line.strip_prefix(b"bottle-guest: ")?).to_string()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> Code {
    status.code().map_or(Code::Other, Code::of_status)
}

fn ended_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let since = Instant::now();
    loop {
        match child.try_wait()? {
            None if since.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
            ended => return Ok(ended),
        }
    }
}

/// Reads to the end in bounded memory, and returns the last bytes.
fn last_of(mut from: ChildStderr) -> Vec<u8> {
    let mut last = Vec::new();
    let mut buffer = [0; SAID];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        last.extend_from_slice(&buffer[..len]);
        let extra = last.len().saturating_sub(SAID);
        last.drain(..extra);
    }
    last
}

/// A guest's output.
pub struct Incoming {
    pipe: ChildStdout,
    pace: Pace,
}

/// A guest's input.
pub struct Outgoing {
    pipe: ChildStdin,
    pace: Pace,
}

impl Incoming {
    pub fn new(pipe: ChildStdout) -> Outcome<Self> {
        ioctl_fionbio(&pipe, true).context("a pipe")?;
        Ok(Self { pipe, pace: Pace::new() })
    }
}

impl Outgoing {
    pub fn new(pipe: ChildStdin) -> Outcome<Self> {
        ioctl_fionbio(&pipe, true).context("a pipe")?;
        Ok(Self { pipe, pace: Pace::new() })
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.wait(&self.pipe, PollFlags::IN)?;
        let len = self.pipe.read(buffer)?;
        self.pace.bytes += len as u64;
        Ok(len)
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.pace.wait(&self.pipe, PollFlags::OUT)?;
            match self.pipe.write(bytes) {
                // The pipe has room, but for less than this: it does not matter how the bytes are divided.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                written => {
                    let len = written?;
                    self.pace.bytes += len as u64;
                    return Ok(len);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How fast the other end is, and how long we tolerate it.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// Waits until the pipe is ready.
    fn wait(&self, pipe: &impl AsFd, what: PollFlags) -> io::Result<()> {
        let due = SILENCE + Duration::from_secs(self.bytes / FEWEST);
        let mut left = SILENCE.min(due.saturating_sub(self.since.elapsed()));
        if !Defence::TreeLimits.stands() {
            left = Duration::from_secs(3600);
        }
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        loop {
            match poll(&mut [PollFd::new(pipe, what)], Some(&timeout)) {
                Ok(0) => return Err(io::Error::new(ErrorKind::TimedOut, "the guest has stopped responding")),
                Err(Errno::INTR) => {}
                other => return other.map(|_| ()).map_err(Into::into),
            }
        }
    }
}
