//! Tells a person at once: the command of `[notify]`, run by a process of its own.
//!
//! A keeper may start nothing, and must not wait for a command. So it hands each [`Notice`] to a *notifier*, a
//! process that it started before it was confined, over a socket that never blocks. The notifier runs the
//! command, one at a time and for a bounded time ([`run`]). It outlives its keeper just long enough to tell that
//! the keeper has died ([`serve`]).

mod notice;
mod run;
mod serve;

pub use notice::{Notice, Told};
pub use run::run;
pub use serve::{Notifier, serve};
