//! Changes a project, all or nothing.
//!
//! Everything new is prepared in a folder beside the project's files, on the same file system: the stage.
//! Then names are exchanged, one step at a time, so that what was replaced ends up in the stage. The journal
//! in the bottle's state folder says what is going on. A process that finds the journal of a dead process
//! undoes its steps, or finishes if all of them were done.
//!
//! What is on disk tells whether a step was done. A step replaces only what was expected there. Anything else
//! is put back, and every earlier step is undone.

mod file;
mod moves;
mod prepare;
mod request;
mod run;
mod steps;
mod work;

pub(super) use request::{Job, Request};
pub use run::Unfinished;
pub(super) use run::{follow, grant, recover, unfinished};
