//! The one place that starts git, and the scanner that inspects a push.
//!
//! git reads whatever a guest pushed. So every child gets our environment, our configuration ([`CONFIG`]) and
//! limits: on memory, processor time, descriptors and file sizes for each of its processes, and on wall-clock
//! time for its whole process group. A child that reaches a limit ends with an error, and nothing is pushed.
//!
//! There are three kinds of environment:
//! - [`Git::store`] works on one of our repositories, and reads only that repository's configuration.
//! - [`Git::in_hook`] does the same inside a hook, where git names the repository and the folder of the
//!   objects that were pushed and are not accepted yet.
//! - [`Git::operator`] is the operator's own git, with the global configuration and credentials
//!   ([`super::outgoing`]). It works on one of our repositories, too, so no other repository's configuration,
//!   hooks or attributes apply.
//!   configuration, hooks or attributes apply.

mod command;
mod limits;
mod read;
mod run;
mod running;

pub use command::Git;
pub use limits::{CONFIG, Limits, MEMORY_LIMITS};
pub use read::read_until;
pub use run::Finished;
