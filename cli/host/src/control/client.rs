//! Sends requests to a keeper, from a command or a hook.

use super::message::{Answer, Request};
use super::status::Status;
use crate::defence::Defence;
use crate::failure::{Failure, Kind, Outcome};
use crate::peer::Process;
use crate::state::Folder;
use anyhow::{Context, Result, anyhow, ensure};
use bottle_core::egress::HostRule;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest request or answer, in bytes.
pub const MAX_LINE: u64 = 1 << 20;
/// The error for an answer that cannot be parsed.
const UNREADABLE: &str = "the keeper's answer cannot be read; if bottle was updated since the bottle started, \
                          `bottle stop` and `bottle up` start its keeper again";
const PATIENCE: Duration = Duration::from_secs(60);

/// The variable with the descriptor on which the hooks of a push talk to the keeper.
pub const CHANNEL: &str = "BOTTLE_GIT_CHANNEL";

/// Sends a keeper a request and returns its answer.
///
/// # Errors
/// Returns [`Kind::NoBottle`] if there is no keeper to ask.
pub fn ask(folder: &Folder, request: &Request) -> Outcome<Answer> {
    ask_within(PATIENCE, folder, request)
}

/// Sends a keeper a request, and gives it this long to answer.
///
/// # Errors
/// Returns an error as for [`ask`].
pub fn ask_within(patience: Duration, folder: &Folder, request: &Request) -> Outcome<Answer> {
    if let Some(stream) = handed_down() {
        return Ok(talk(&stream?, request, patience)?);
    }
    Ok(talk(&connect(folder)?, request, patience)?)
}

/// Returns what a bottle's keeper knows, if there is one and it answers.
pub fn status(folder: &Folder) -> Option<Box<Status>> {
    match ask(folder, &Request::Status) {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    }
}

/// Returns a bottle's keeper, which ends with the bottle.
///
/// # Errors
/// Returns [`Kind::NoBottle`] if the bottle does not run.
pub fn keeper(folder: &Folder) -> Outcome<Process> {
    let pid = match ask(folder, &Request::Status)? {
        Answer::Status(status) => i32::try_from(status.pid).ok(),
        _ => None,
    };
    pid.and_then(Process::of).ok_or_else(|| is_down(folder))
}

fn connect(folder: &Folder) -> Outcome<UnixStream> {
    UnixStream::connect(folder.control()).map_err(|_| is_down(folder))
}

fn is_down(folder: &Folder) -> Failure {
    Failure::new(Kind::NoBottle, format!("bottle {} is not running", folder.slug()))
        .help(format!("start it with `bottle up {}`", folder.slug()))
}

/// What a keeper grants until this value is dropped, or until this process ends.
#[derive(Debug)]
#[must_use]
pub struct Lent(#[expect(dead_code, reason = "the keeper watches for its end")] UnixStream);

/// Lets a bottle's agent reach more hosts, for as long as the returned value lives.
///
/// # Errors
/// Returns the keeper's own message if it refuses, and [`Kind::NoBottle`] if there is no keeper.
pub fn lend(folder: &Folder, rules: Vec<HostRule>, by: String) -> Outcome<Lent> {
    let stream = connect(folder)?;
    match talk(&stream, &Request::Lend { rules, by }, PATIENCE)? {
        Answer::Failed { why } => Err(Failure::new(Kind::Internal, why)),
        _ => Ok(Lent(stream)),
    }
}

/// Sends a keeper a request that it must carry out.
///
/// # Errors
/// Returns the keeper's own message if it refuses, and [`Kind::NoBottle`] if there is no keeper.
pub fn demand(folder: &Folder, request: &Request, kind: Kind) -> Outcome {
    match ask(folder, request)? {
        Answer::Failed { why } => Err(Failure::new(kind, why)),
        Answer::Done | Answer::Status(_) | Answer::Inbox { .. } | Answer::Examined(_) => Ok(()),
    }
}

/// Returns the socket that a hook was given. A hook is confined together with git, so this is its only way to
/// the keeper, which lets it talk about one repository only.
pub fn handed_down() -> Option<Result<UnixStream>> {
    let number: i32 = std::env::var(CHANNEL).ok()?.parse().ok()?;
    // SAFETY: whoever started git keeps it open for this process, and only a copy of it is used here.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner")]
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Some(rustix::io::fcntl_dupfd_cloexec(fd, 0).map(UnixStream::from).map_err(Into::into))
}

/// Sends a request and reads the answer. The keeper reads a guest's bytes, and is hostile once it has been
/// taken over, so it must not decide how long its answer is or how long it takes.
fn talk(mut stream: &UnixStream, request: &Request, patience: Duration) -> Result<Answer> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let answer = read_line(stream, MAX_LINE, patience)?;
    serde_json::from_str(&answer).map_err(|_| anyhow!(UNREADABLE))
}

/// Reads a line of at most `limit` bytes, all of it within `patience`.
fn read_line(stream: &UnixStream, limit: u64, patience: Duration) -> Result<String> {
    let end = Instant::now() + patience;
    let limit = if Defence::BoundedReads.stands() { limit } else { u64::MAX };
    let mut reader = BufReader::new(stream.take(limit));
    let mut line = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let bytes = reader.fill_buf().context("the keeper does not answer")?;
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(newline.map_or(bytes, |at| &bytes[..at]));
        let read = newline.map_or(bytes.len(), |at| at + 1);
        reader.consume(read);
        if newline.is_some() {
            return String::from_utf8(line).map_err(|_| anyhow!(UNREADABLE));
        }
        ensure!(read > 0 && (line.len() as u64) < limit, "the keeper's answer has no end");
        ensure!(Instant::now() < end, "the keeper does not answer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn answered(answer: impl FnOnce(UnixStream) + Send + 'static) -> (Result<String>, Duration) {
        let (near, far) = UnixStream::pair().unwrap();
        thread::spawn(move || answer(far));
        let since = Instant::now();
        (read_line(&near, 1000, Duration::from_millis(400)), since.elapsed())
    }

    #[test]
    fn an_answer_is_read_up_to_a_length_and_a_time_and_no_further() {
        let (whole, _) = answered(|mut far| {
            far.write_all(b"{\"answer\":").unwrap();
            far.write_all(b"\"done\"}\nmore").unwrap();
        });
        assert_eq!(whole.unwrap(), "{\"answer\":\"done\"}");
        let (endless, _) = answered(|mut far| while far.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(endless.unwrap_err().to_string().contains("no end"));
        let (cut_off, _) = answered(|mut far| far.write_all(b"{").unwrap());
        assert!(cut_off.unwrap_err().to_string().contains("no end"));
        // A byte now and then does not keep anybody waiting forever.
        let (slow, took) = answered(|mut far| {
            while far.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(30));
            }
        });
        assert!(slow.unwrap_err().to_string().contains("does not answer"));
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
