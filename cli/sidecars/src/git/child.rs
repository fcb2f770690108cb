//! The one place that starts git, and what looks at a push beside it.
//!
//! Whatever a guest pushed, git reads. So every child gets an environment of ours, a configuration of
//! ours ([`CONFIG`]) and limits: of memory, processor time, descriptors and file sizes for each of its
//! processes, and of wall-clock time for its whole process group. A limit that is reached ends git
//! with an error, and nothing is pushed then.
//!
//! Three kinds of environment:
//! - [`Git::store`] works on a repository of ours and reads no configuration but that repository's;
//! - [`Git::pushed`] is the same within a hook, where git says which repository and where the objects
//!   are that were pushed and not taken yet;
//! - [`Git::operators`] is the operator's own git, with the global configuration and the credentials
//!   ([`super::outgoing`]);
//!   it works on a repository of ours, too, so no other repository's configuration, hook or attribute
//!   has a say.

mod command;
mod limits;
mod read;
mod run;
mod running;

pub use command::Git;
pub use limits::{CONFIG, FRUGAL, Limits};
pub use read::until;
pub use run::Ended;
