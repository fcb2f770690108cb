//! The interface between what is shown and the command: everything that a person can see or decide.
//!
//! Text from a guest is escaped here already, in the way of the terminal's output. What a person decides on is
//! named together with a digest of what they saw, and is refused if it has changed.

mod changes;
mod log;
mod overview;
mod pushes;
mod verified;

use bottle_core::slug::Slug;
use bottle_host::failure::Outcome;

pub use changes::{Apply, ChangedFile, Changes, Picked};
pub use log::{Class, Destination, Line, Log, Minute, Standing};
pub use overview::{Answer, Bottle, Overview, Request, Rule, RuleChange, Scope, Usage};
pub use pushes::{Compared, Push, PushDecision, PushName};
pub use verified::{Strip, Verified};

/// What a person sees and decides. Every method may block.
pub trait Desk: Send + Sync + 'static {
    /// Returns the bottles and everything that waits for an answer.
    ///
    /// # Errors
    /// Returns an error if the bottles cannot be listed.
    fn overview(&self) -> Outcome<Overview>;

    /// Returns what a bottle's log says, with its lines after the one with this number.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    fn log(&self, slug: &Slug, after: u64) -> Outcome<Log>;

    /// Answers a request of an agent, and returns what was done.
    ///
    /// # Errors
    /// Returns an error if the request is not the one that was seen, or is gone.
    fn answer(&self, answer: &Answer) -> Outcome<String>;

    /// Opens or closes a host, and returns what was done.
    ///
    /// # Errors
    /// Returns an error if the rule is not one, or cannot be recorded.
    fn rule(&self, rule: &Rule) -> Outcome<String>;

    /// Returns the pushes of a bottle that wait.
    ///
    /// # Errors
    /// Returns an error if a quarantine cannot be read.
    fn pushes(&self, slug: &Slug) -> Outcome<Vec<Push>>;

    /// Returns what a push would change at its upstream.
    ///
    /// # Errors
    /// Returns an error if there is no such push.
    fn push(&self, name: &PushName) -> Outcome<Compared>;

    /// Approves or rejects a push, and returns what was done.
    ///
    /// # Errors
    /// Returns an error if the push has changed since it was seen, or its upstream does not take it.
    fn decide(&self, decision: &PushDecision) -> Outcome<String>;

    /// Returns what a guest changed in its copy of the project.
    ///
    /// # Errors
    /// Returns an error if the guest has no copy, or it cannot be read.
    fn changes(&self, slug: &Slug) -> Outcome<Changes>;

    /// Applies some of these changes to the project, and returns what was done.
    ///
    /// # Errors
    /// Returns an error if one of them is not what was seen. Then nothing is applied.
    fn apply(&self, apply: &Apply) -> Outcome<String>;

    /// Begins to verify a bottle, unless that is under way.
    ///
    /// # Errors
    /// Returns an error if the bottle is not up.
    fn verify(&self, slug: &Slug) -> Outcome;

    /// Returns the state of a bottle's verification, and its last result.
    fn verified(&self, slug: &Slug) -> Verified;
}
