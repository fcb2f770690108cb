//! What a log says.

use serde::Serialize;

/// A part of a bottle's log, and what all of it comes to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Log {
    /// The newest lines after the one that was asked for, the oldest first.
    pub lines: Vec<Line>,
    /// The number of the last line.
    pub last: u64,
    /// Whether older lines are still being read.
    pub reading: bool,
    /// What was refused or allowed, by destination, the most frequent first.
    pub destinations: Vec<Destination>,
    /// How many events went to destinations that are not listed.
    pub others: u64,
    /// How much was refused and allowed in each of the last minutes, the oldest first.
    pub minutes: Vec<Minute>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number among the lines that were read.
    pub number: u64,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who wrote it.
    pub part: String,
    /// What was decided.
    pub event: String,
    /// Which kind of event that is.
    pub class: Class,
    /// Its other fields.
    pub details: String,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something was refused.
    Refused,
    /// Something was let through.
    Allowed,
    /// Something does not work.
    Trouble,
    /// Anything else.
    Note,
}

/// Where requests went, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The destination.
    pub name: String,
    /// Whether it was refused or allowed.
    pub class: Class,
    /// Who decided it.
    pub part: String,
    /// The reason for a refusal.
    pub reason: String,
    /// How many requests went there.
    pub count: u64,
    /// When the last one did, in milliseconds since 1970.
    pub last_ms: u64,
    /// The rule that would open it, if one would.
    pub rule: Option<String>,
    /// What the rules say about it now.
    pub standing: Standing,
}

/// What the rules say about a destination now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing: it is closed.
    #[default]
    Undecided,
    /// It is open.
    Allowed,
    /// A person closed it.
    Denied,
}

/// What happened in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much was refused.
    pub refused: u64,
    /// How much was allowed.
    pub allowed: u64,
}
