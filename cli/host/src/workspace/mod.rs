//! The workspace of `mode = "copy"`: the guest works on its own copy of the project, and a person applies its
//! changes, path by path.
//!
//! The guest is the adversary here, too. Its copy is read through descriptors from which no link leads out
//! ([`tree`], [`crate::beneath`]), even while the guest changes it. It is read only once: what was read is
//! set aside ([`snapshot`]), and that is what is shown, judged and written ([`look`], [`diff`], [`apply`]).
//! Paths that could run on the host merely by being there (anything that git could take for a repository), or
//! that point out of the project, are never applied ([`decide`]).

mod apply;
mod attributes;
mod backup;
pub mod changes;
mod copy;
pub mod decide;
mod diff;
mod duplicate;
mod exact;
pub mod exclude;
mod export;
mod journal;
mod listing;
mod look;
mod make;
mod patch;
mod places;
mod record;
mod results;
mod snapshot;
mod stamps;
pub mod trash;
pub mod tree;
mod undo;

pub use apply::Applied;
pub use backup::KEPT;
pub use copy::{Copy, follow, recover, unfinished};
pub use export::Exported;
pub use journal::Unfinished;
pub use look::{Digest, Look, MOST};
pub use make::{give, lists, shown};
pub use places::Places;
pub use results::RESULT;
pub use snapshot::copy_with_holes;
pub use undo::Undo;
