//! The workspace of `mode = "copy"`: the guest works on its own copy of the project, and a person
//! takes back what it changed, path by path.
//!
//! The guest is the adversary here, too. Its copy is read through descriptors that nothing leads out
//! of ([`tree`], [`crate::beneath`]), also while the guest changes it, and it is read once: what was
//! read is put aside ([`snapshot`]), and that is what is shown, judged and written ([`look`],
//! [`diff`], [`apply`]). What could run on the host by being there (anything that git could take for
//! a repository), or points out of the project, is not taken back ([`decide`]).

mod apply;
pub mod changes;
mod copy;
pub mod decide;
mod diff;
mod look;
mod make;
mod snapshot;
pub mod trash;
pub mod tree;

pub use apply::Applied;
pub use copy::Copy;
pub use look::{Digest, Look, MOST};
pub use make::give;
