//! A job's output in batches, each taken by a call of its own.
//!
//! smolvm carries the output of a program that it streams in pieces of 4 KiB, each a message with base64 in it. A call that
//! ends is answered in one message, which is several times as fast, and bounded. So the job runs behind an *outlet*, which
//! hands out what it writes, batch by batch, to helpers of the same user that know its word.

use crate::report::{END, MORE};
use crate::status::exit_number;
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes in a batch. smolvm 1.32.2 gives up at 11 MiB.
const MOST: usize = 8 << 20;
/// How long a batch is waited for until it is handed out as it is.
const LINGER: Duration = Duration::from_secs(3);
/// How long nobody may ask for the next batch. Whoever reads a copy on the host may pause.
const IDLE: Duration = Duration::from_secs(300);
/// How much of a job's error output is kept: the end of it.
const SAID: usize = 8192;

const NEXT: u8 = b'n';
const CANCEL: u8 = b'c';

/// What an outlet says before the bytes of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    /// How many bytes follow.
    len: u32,
    /// The job's status, if it has ended.
    status: Option<u8>,
    /// The end of its error output, if it has ended.
    said: Vec<u8>,
}

impl Head {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let said = u32::try_from(self.said.len()).unwrap_or_default();
        to.write_all(&[u8::from(self.status.is_some()), self.status.unwrap_or_default()])?;
        to.write_all(&self.len.to_be_bytes())?;
        to.write_all(&said.to_be_bytes())?;
        to.write_all(&self.said[..said as usize])
    }

    fn read(from: &mut impl Read) -> Result<Self> {
        let (mut ended, mut len, mut said) = ([0; 2], [0; 4], [0; 4]);
        from.read_exact(&mut ended)?;
        from.read_exact(&mut len)?;
        from.read_exact(&mut said)?;
        let said = u32::from_be_bytes(said) as usize;
        ensure!(said <= SAID, "{said} bytes of error output are too many");
        let status = (ended[0] == 1).then_some(ended[1]);
        let mut head = Self { len: u32::from_be_bytes(len), status, said: vec![0; said] };
        from.read_exact(&mut head.said)?;
        Ok(head)
    }
}

/// Runs `bottle-guest batch WORD [-- JOB...]`: begins a job, if one is named, and writes its next batch. It ends with
/// [`MORE`], or as the job did.
///
/// # Errors
/// Returns an error if there is no such job.
pub fn main(words: &[OsString]) -> Result<ExitCode> {
    let (word, rest) = words.split_first().context("expected a word")?;
    let address = SocketAddr::from_abstract_name([b"bottle-guest ", word.as_encoded_bytes()].concat())?;
    let outlet = match rest.split_first() {
        Some((first, job)) if first == "--" && !job.is_empty() => Some(begin(&address, job)?),
        Some((first, [])) if first == END => return cancel(&address),
        None => None,
        Some(_) => bail!("expected `-- JOB...`"),
    };
    let mut from = UnixStream::connect_addr(&address).context("the job is not there any more")?;
    from.write_all(&[NEXT])?;
    let head = Head::read(&mut from).context("the job was cut off")?;
    let mut out = io::stdout().lock();
    let passed = io::copy(&mut from.take(head.len.into()), &mut out)?;
    out.flush()?;
    ensure!(passed == u64::from(head.len), "the job was cut off");
    let Some(status) = head.status else { return Ok(ExitCode::from(MORE)) };
    io::stderr().write_all(&head.said)?;
    if let Some(mut outlet) = outlet {
        outlet.wait()?;
    }
    Ok(ExitCode::from(status))
}

/// Starts an outlet that outlives this call, and is told apart from it by whoever ends a call's process group.
fn begin(address: &SocketAddr, job: &[OsString]) -> Result<Child> {
    let listener = UnixListener::bind_addr(address)?;
    let mut outlet = itself(OsStr::new("outlet"), job)?;
    outlet.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    outlet.spawn().context("the outlet")
}

fn cancel(address: &SocketAddr) -> Result<ExitCode> {
    // It may have ended by itself.
    if let Ok(mut to) = UnixStream::connect_addr(address) {
        to.write_all(&[CANCEL])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn itself(job: &OsStr, words: &[OsString]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program")?);
    command.arg(job).args(words);
    Ok(command)
}

/// Runs `bottle-guest outlet JOB...` with a listener in place of standard input: hands out what the job writes.
///
/// # Errors
/// Returns an error if the job cannot be started.
pub fn outlet(words: &[OsString]) -> Result<ExitCode> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (job, rest) = words.split_first().context("expected a job")?;
    let mut job = itself(job, rest)?;
    let mut job = job.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let handed = hand_out(&listener, &mut job);
    let _ = job.kill();
    let _ = job.wait();
    handed?;
    Ok(ExitCode::SUCCESS)
}

fn hand_out(listener: &UnixListener, job: &mut Child) -> Result<()> {
    let mut pipe = job.stdout.take().context("no output")?;
    let said = job.stderr.take().context("no error output")?;
    let mut said = Some(thread::spawn(move || last_of(said)));
    while let Some(mut taker) = next_taker(listener)? {
        let (bytes, is_over) = collect(&mut pipe)?;
        let mut head = Head { len: u32::try_from(bytes.len())?, ..Head::default() };
        if is_over {
            head.status = Some(exit_number(job.wait()?));
            head.said = said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        }
        head.write(&mut taker)?;
        taker.write_all(&bytes)?;
        if is_over {
            break;
        }
    }
    Ok(())
}

/// Waits for a helper of this user that asks for a batch, or returns `None` if none comes, or one cancels.
fn next_taker(listener: &UnixListener) -> Result<Option<UnixStream>> {
    let end = Instant::now() + IDLE;
    loop {
        if !is_readable(listener, end)? {
            return Ok(None);
        }
        let (mut taker, _) = listener.accept()?;
        let peer = rustix::net::sockopt::socket_peercred(&taker)?;
        if peer.uid != rustix::process::geteuid() {
            continue;
        }
        taker.set_read_timeout(Some(IDLE))?;
        taker.set_write_timeout(Some(IDLE))?;
        let mut wish = [0];
        return Ok((taker.read(&mut wish)? == 1 && wish[0] == NEXT).then_some(taker));
    }
}

/// Reads a batch, and returns whether it is the last one.
fn collect(pipe: &mut ChildStdout) -> Result<(Vec<u8>, bool)> {
    let end = Instant::now() + LINGER;
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    while bytes.len() < MOST && is_readable(pipe, end)? {
        let room = piece.len().min(MOST - bytes.len());
        match pipe.read(&mut piece[..room]) {
            Ok(0) => return Ok((bytes, true)),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((bytes, false))
}

fn is_readable(what: &impl AsFd, end: Instant) -> Result<bool> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(what, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Reads to the end in bounded memory, and returns the last bytes.
fn last_of(mut from: ChildStderr) -> Vec<u8> {
    let (mut last, mut buffer) = (Vec::new(), [0; SAID]);
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        last.extend_from_slice(&buffer[..len]);
        last.drain(..last.len().saturating_sub(SAID));
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_a_job_ended_and_one_that_is_cut_off_says_nothing() {
        for status in [None, Some(0), Some(77)] {
            let head = Head { len: 70_000, status, said: b"why\n".to_vec() };
            let mut bytes = Vec::new();
            head.write(&mut bytes).unwrap();
            assert_eq!(Head::read(&mut bytes.as_slice()).unwrap(), head);
            assert!(Head::read(&mut &bytes[..bytes.len() - 1]).is_err());
        }
        assert!(Head::read(&mut [0xff; 32].as_slice()).is_err());
    }

    #[test]
    fn a_batch_is_bounded_and_a_slow_job_is_not_waited_for() {
        let started = |script: &str| {
            let mut job = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
            let pipe = job.stdout.take().unwrap();
            (job, pipe)
        };
        let (mut job, mut pipe) = started("head -c 9000000 /dev/zero");
        let (first, is_over) = collect(&mut pipe).unwrap();
        assert!((first.len(), is_over) == (MOST, false), "{}", first.len());
        let (rest, is_over) = collect(&mut pipe).unwrap();
        assert_eq!((first.len() + rest.len(), is_over), (9_000_000, true));
        job.wait().unwrap();
        let (mut job, mut pipe) = started("printf few; exec sleep 20");
        let since = Instant::now();
        assert_eq!(collect(&mut pipe).unwrap(), (b"few".to_vec(), false));
        assert!(since.elapsed() < Duration::from_secs(10));
        job.kill().unwrap();
        job.wait().unwrap();
    }
}
