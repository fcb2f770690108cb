//! What accompanies a run whose results are kept.

use crate::resolve::Resolved;
use bottle_host::control::Status;
use bottle_host::failure::Outcome;
use std::io::Write;

/// Where a run's streams go, instead of to this process's own.
pub struct Streams {
    /// The guest's standard output.
    pub out: Box<dyn Write + Send>,
    /// The guest's standard error.
    pub err: Box<dyn Write + Send>,
    /// Is told the name that smolvm gave the machine.
    pub named: Box<dyn FnOnce(&str) + Send>,
}

/// What accompanies a run whose results are kept. Each method is called at most once, in this order.
pub trait Companion {
    /// What starts is decided, and written.
    ///
    /// # Errors
    /// An error keeps the run from starting.
    fn resolved(&self, resolved: &Resolved) -> Outcome;

    /// Returns where the streams go.
    ///
    /// # Errors
    /// An error keeps the run from starting.
    fn streams(&self) -> Outcome<Streams>;

    /// The machine boots, as a process of this number.
    fn called(&self, pid: u32);

    /// The keeper is ready.
    ///
    /// # Errors
    /// An error ends the run.
    fn kept(&self) -> Outcome;

    /// The machine has ended, and the keeper said this last.
    fn ended(&self, status: Option<&Status>);

    /// Everything has ended, and its files are still there.
    fn collect(&self);
}
