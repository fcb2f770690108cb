//! What a command may ask a keeper, and what it answers: one JSON line each, on a private socket.

use super::counters::Snapshot;
use super::examine::Examined;
use super::peer::Named;
use crate::confine::InForce;
use crate::defence::Defence;
use crate::failure::{Failure, Kind, Outcome};
use crate::git::hook;
use crate::rules::Change;
use crate::state::Folder;
use crate::supervise::inbox::{Decision, Waiting};
use anyhow::{Context, Result, ensure};
use bottle_core::egress::Rules;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest request or answer.
pub const MAX_LINE: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A request to a keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// How are you?
    Status,
    /// From now on, live as long as this process, and greet its machine alone.
    Adopt {
        /// The machine's process.
        machine: Named,
    },
    /// From now on, greet this machine alone.
    Expect {
        /// What it is known by.
        machine: Named,
    },
    /// Say when the guest is connected.
    AwaitGuest {
        /// The most milliseconds to wait.
        limit_ms: u64,
    },
    /// Change the rules.
    Rules {
        /// How.
        change: Change,
        /// Who says so.
        by: String,
    },
    /// Write down what became of one ref of a push.
    Git {
        /// The repository.
        repo: Slug,
        /// What became of it.
        event: GitEvent,
        /// The ref's whole name.
        name: String,
        /// Its new commit, unless it is deleted.
        commit: Option<String>,
        /// Why, where it was refused; who, where a person decided.
        why: Option<String>,
    },
    /// What does the agent ask for?
    Inbox,
    /// Decide what the agent asked for.
    Decide {
        /// Its number.
        number: u32,
        /// Yes or no, with an answer or a reason.
        decision: Decision,
        /// Who decides.
        by: String,
    },
    /// Send a push on to its upstream.
    GitForward {
        /// The repository.
        repo: Slug,
        /// The ref's whole name.
        branch: String,
        /// What was judged: the commit, unless the push deleted the ref.
        commit: Option<String>,
    },
    /// End.
    Stop,
    /// Send everything that a guest could send, and say what became of it.
    Examine {
        /// Addresses of this machine that something listens on and no guest may reach.
        canaries: Vec<SocketAddr>,
        /// The run's own number, which nobody else knows.
        nonce: String,
    },
}

/// What became of one ref of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitEvent {
    /// It goes on to the upstream at once.
    Allowed,
    /// It waits for a person.
    Waiting,
    /// The policy refused it.
    Refused,
    /// The upstream has it.
    Forwarded,
    /// A person approved it.
    Approved,
    /// A person rejected it.
    Rejected,
}

impl GitEvent {
    /// Whether a person decided it, rather than a rule.
    pub fn is_a_decision(self) -> bool {
        matches!(self, Self::Approved | Self::Rejected)
    }

    /// Whether a hook says so; the others are an operator's, and the keeper's own.
    pub fn is_a_hooks(self) -> bool {
        matches!(self, Self::Allowed | Self::Waiting | Self::Refused)
    }

    /// As the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Forwarded => "forwarded",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// A keeper's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// It was not done, and why.
    Failed {
        /// In words.
        why: String,
    },
    /// How the keeper is.
    Status(Box<Status>),
    /// What the agent asks for.
    Inbox {
        /// The oldest first.
        waiting: Vec<Waiting>,
    },
    /// What became of what was sent.
    Examined(Box<Examined>),
}

/// How a keeper is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether a guest is connected.
    pub guest: bool,
    /// Whether a guest was ever connected.
    pub guest_seen: bool,
    /// Whether the process of the guest that was greeted last runs behind a seccomp filter, as the
    /// kernel says; `None` where there is none.
    #[serde(default)]
    pub machine_filtered: Option<bool>,
    /// How often gvproxy had to be started again.
    pub jail_restarts: u32,
    /// What the kernel holds the keeper to.
    #[serde(default)]
    pub confined: InForce,
    /// What the agent said last about what it does.
    #[serde(default)]
    pub report: Option<String>,
    /// Whether the disk did not take the log's last line.
    #[serde(default)]
    pub log_failing: bool,
    /// What passed and what did not.
    pub counters: Snapshot,
    /// What the egress proxy lets through now.
    pub rules: Rules,
}

/// Asks a keeper something.
///
/// # Errors
/// [`Kind::NoBottle`] where there is no keeper to ask.
pub fn ask(folder: &Folder, request: &Request) -> Outcome<Answer> {
    ask_within(PATIENCE, folder, request)
}

/// The same, for a keeper that may think about it this long.
///
/// # Errors
/// As for [`ask`].
pub fn ask_within(patience: Duration, folder: &Folder, request: &Request) -> Outcome<Answer> {
    if let Some(stream) = handed_down() {
        return Ok(talk(stream?, request, patience)?);
    }
    let stream = UnixStream::connect(folder.control()).map_err(|_| {
        Failure::new(Kind::NoBottle, format!("bottle {} is not running", folder.slug()))
            .help(format!("start it with `bottle up {}`", folder.slug()))
    })?;
    Ok(talk(stream, request, patience)?)
}

/// Asks a keeper to do something.
///
/// # Errors
/// Where it does not, in its own words; [`Kind::NoBottle`] where there is none.
pub fn demand(folder: &Folder, request: &Request, kind: Kind) -> Outcome {
    match ask(folder, request)? {
        Answer::Failed { why } => Err(Failure::new(kind, why)),
        Answer::Done | Answer::Status(_) | Answer::Inbox { .. } | Answer::Examined(_) => Ok(()),
    }
}

/// The socket that a hook was given: confined with git, it has no other way to the keeper, which
/// hears on it of one repository alone.
pub fn handed_down() -> Option<Result<UnixStream>> {
    let number: i32 = std::env::var(hook::CHANNEL).ok()?.parse().ok()?;
    // SAFETY: whoever started git keeps it open for this process, and only a copy of it is used here.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner")]
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Some(rustix::io::fcntl_dupfd_cloexec(fd, 0).map(UnixStream::from).map_err(Into::into))
}

/// A keeper reads what a guest sends. One that was taken over is hostile, too, so neither its answer's
/// length nor the time that it takes is its to choose.
fn talk(mut stream: UnixStream, request: &Request, patience: Duration) -> Result<Answer> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let answer = read_line(&stream, MAX_LINE, patience)?;
    serde_json::from_str(&answer).context("the keeper's answer")
}

/// Reads a line of so many bytes at most, all of it within a time.
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
            return String::from_utf8(line).context("the keeper's answer");
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
        // A byte now and then keeps nobody waiting for ever.
        let (slow, took) = answered(|mut far| {
            while far.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(30));
            }
        });
        assert!(slow.unwrap_err().to_string().contains("does not answer"));
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
