//! What a command may ask a keeper, and what it answers: one JSON line each, on a private socket.

use super::counters::Snapshot;
use crate::confine::InForce;
use crate::failure::{Failure, Kind, Outcome};
use crate::git::hook;
use crate::rules::Change;
use crate::state::Folder;
use crate::supervise::inbox::{Decision, Waiting};
use anyhow::{Context, Result};
use bottle_core::egress::Rules;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest request or answer.
pub const MAX_LINE: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A request to a keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// How are you?
    Status,
    /// From now on, live as long as the process with this id.
    Adopt {
        /// The machine's process.
        pid: i32,
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
        /// The branch.
        branch: String,
    },
    /// End.
    Stop,
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
    if let Some(stream) = handed_down() {
        return Ok(talk(stream?, request)?);
    }
    let stream = UnixStream::connect(folder.control()).map_err(|_| {
        Failure::new(Kind::NoBottle, format!("bottle {} is not running", folder.slug()))
            .help(format!("start it with `bottle up {}`", folder.slug()))
    })?;
    Ok(talk(stream, request)?)
}

/// Asks a keeper to do something.
///
/// # Errors
/// Where it does not, in its own words; [`Kind::NoBottle`] where there is none.
pub fn demand(folder: &Folder, request: &Request, kind: Kind) -> Outcome {
    match ask(folder, request)? {
        Answer::Failed { why } => Err(Failure::new(kind, why)),
        Answer::Done | Answer::Status(_) | Answer::Inbox { .. } => Ok(()),
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

fn talk(mut stream: UnixStream, request: &Request) -> Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the keeper does not answer")?;
    serde_json::from_str(&answer).context("the keeper's answer")
}
