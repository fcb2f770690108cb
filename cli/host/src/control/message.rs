//! A request to a keeper, and its answer.

use super::examined::Examined;
use super::git_event::GitEvent;
use super::inbox::{Decision, Waiting};
use super::status::Status;
use crate::peer::Named;
use crate::rules::Change;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

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
