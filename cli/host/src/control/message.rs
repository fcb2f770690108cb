//! The requests to a keeper, and its answers.

use super::examined::Examined;
use super::git_event::GitEvent;
use super::inbox::{Decision, Waiting};
use super::status::Status;
use crate::peer::Named;
use crate::rules::Change;
use bottle_core::egress::HostRule;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A request to a keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Ask for the keeper's status.
    Status,
    /// Live as long as this process from now on, and accept connections from its machine only.
    Adopt {
        /// The machine's process.
        machine: Named,
    },
    /// Accept connections from this machine only from now on.
    Expect {
        /// The process that identifies the machine.
        machine: Named,
    },
    /// Wait until the guest is connected.
    AwaitGuest {
        /// How many milliseconds to wait at most.
        limit_ms: u64,
    },
    /// Change the rules.
    Rules {
        /// The change.
        change: Change,
        /// Who changes them.
        by: String,
    },
    /// Let the agent reach these hosts, too, for as long as the connection of this request stays open.
    Lend {
        /// The hosts.
        rules: Vec<HostRule>,
        /// Who lends them.
        by: String,
    },
    /// Record what became of one ref of a push.
    Git {
        /// The repository.
        repo: Slug,
        /// What became of it.
        event: GitEvent,
        /// The ref's full name.
        name: String,
        /// Its new commit, unless the push deletes it.
        commit: Option<String>,
        /// The reason for a refusal, or the person who decided.
        why: Option<String>,
    },
    /// Ask for the agent's open requests.
    Inbox,
    /// Decide about a request of the agent.
    Decide {
        /// Its number.
        number: u32,
        /// Yes or no, with an answer or a reason.
        decision: Decision,
        /// Who decides.
        by: String,
    },
    /// Forward a push to its upstream.
    GitForward {
        /// The repository.
        repo: Slug,
        /// The ref's full name.
        branch: String,
        /// The commit that was approved, unless the push deletes the ref.
        commit: Option<String>,
    },
    /// Stop.
    Stop,
    /// Only count refusals from now on, because an operator provokes them.
    Summarize {
        /// For how many milliseconds at most. 0 means to write the count down now.
        limit_ms: u64,
    },
    /// Send every kind of frame that a guest could send, and report what became of them.
    Examine {
        /// Addresses of this machine where something listens that no guest may reach.
        canaries: Vec<SocketAddr>,
        /// The run's number, which nobody else knows.
        nonce: String,
    },
}

/// A keeper's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The request was carried out.
    Done,
    /// The request was not carried out.
    Failed {
        /// The reason, in words.
        why: String,
    },
    /// The keeper's status.
    Status(Box<Status>),
    /// The agent's open requests.
    Inbox {
        /// The requests, oldest first.
        waiting: Vec<Waiting>,
    },
    /// The result of the examination.
    Examined(Box<Examined>),
}
