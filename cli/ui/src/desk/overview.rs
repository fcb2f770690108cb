//! Bottles, and what waits for an answer.

use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bottles and everything that waits for an answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    /// The bottles, in the order of their names.
    pub bottles: Vec<Bottle>,
    /// The requests of all agents, the oldest first.
    pub inbox: Vec<Request>,
}

/// A bottle.
#[derive(Clone, Debug, Serialize)]
pub struct Bottle {
    /// Its name.
    pub slug: Slug,
    /// Its state, in the word of `bottle ls`.
    pub state: &'static str,
    /// What is wrong with it, and what fixes that.
    pub why: Option<String>,
    /// The command that is changing it now.
    pub busy: Option<String>,
    /// The ports of its doors, by sidecar.
    pub doors: BTreeMap<String, u16>,
    /// The project that it was made for.
    pub project: Option<String>,
    /// How many seconds ago its keeper started.
    pub uptime_s: Option<u64>,
    /// Whether a guest is connected.
    pub guest: Option<bool>,
    /// What its agent reported last.
    pub report: Option<String>,
    /// What it uses.
    pub usage: Option<Usage>,
    /// How many pushes wait.
    pub pushes: usize,
    /// Whether the guest works on a copy of the project.
    pub has_copy: bool,
    /// Whether its log cannot be written.
    pub log_failing: bool,
}

/// What a bottle has used so far. The rates follow from two of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// When this was measured, in milliseconds since 1970.
    pub at_ms: u64,
    /// The processor time of its machine, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most processors that it may use.
    pub cpus: u8,
    /// The memory that its machine takes, in bytes.
    pub memory: Option<u64>,
    /// The most memory that it may take, in bytes.
    pub memory_limit: u64,
    /// The bytes that went to the guest.
    pub received: u64,
    /// The bytes that came from the guest.
    pub sent: u64,
    /// The bytes that its machine read from disks.
    pub read: Option<u64>,
    /// The bytes that its machine wrote to disks.
    pub written: Option<u64>,
}

/// A request of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The agent's bottle.
    pub bottle: Slug,
    /// The request's number in that bottle.
    pub number: u32,
    /// A digest of everything that is shown of it.
    pub seen: String,
    /// What it asks, in a sentence.
    pub says: String,
    /// The agent's own words: its reason, or its question.
    pub words: String,
    /// Whether it can only be approved with an answer.
    pub needs_an_answer: bool,
    /// What an approval changes in the rules.
    pub changes: Vec<RuleChange>,
    /// Why nobody can approve it, if so.
    pub forbidden: Option<String>,
    /// When it was first asked for, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether the agent still waits.
    pub waits: bool,
}

/// A change of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// Whether the rule is new. Otherwise it is removed.
    pub added: bool,
    /// The rule: `allow example.com`.
    pub rule: String,
}

/// An answer to a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The agent's bottle.
    pub bottle: Slug,
    /// The request's number.
    pub number: u32,
    /// The digest of the request that was seen.
    pub seen: String,
    /// Whether it is approved.
    pub approved: bool,
    /// The answer, or why not.
    #[serde(default)]
    pub says: Option<String>,
}

/// Where a rule is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The host is open for this bottle.
    Bottle,
    /// It is open for this bottle, and written into the project's `bottle.toml`.
    Project,
    /// It is closed for this bottle, whatever else covers it.
    Not,
}

/// A decision about a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The bottle.
    pub bottle: Slug,
    /// The host, as in `bottle allow`.
    pub host: String,
    /// Where it holds.
    pub scope: Scope,
}
