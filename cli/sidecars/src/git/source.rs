//! The operator's own repository, read without git.
//!
//! It often lies in a folder that the guest can write: its `.git` is then what the guest left there.
//! So no git ever runs in it. Its refs are read here, strictly; its objects are copied, by kind and
//! name, into a folder of ours ([`Source::copy`]), and git reads only that copy, with our
//! configuration. That leaves nothing to be turned off: no configuration, hook, attribute, filter,
//! alternates, graft, replacement, promisor or `include` of the repository's is ever opened. Every
//! name is opened below a descriptor of the repository's own folder ([`beneath`]), so that no link leads
//! out of it, also where it is exchanged meanwhile; and what git parses can no longer be changed.
//!
//! The price is a copy of the objects, on the same disk, each time that a branch has moved.

mod copy;
mod files;
mod open;
mod refs;

pub use open::Source;
pub use refs::Refs;
