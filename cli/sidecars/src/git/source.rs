//! Reads the operator's own repository without git.
//!
//! The repository is often in a folder that the guest can write to, so its `.git` may hold whatever the guest
//! left there. No git ever runs in it. Its refs are read here, strictly. Its objects are copied, by kind and
//! name, into one of our folders ([`Source::copy`]), and git reads only that copy, with our configuration. So
//! nothing has to be turned off: none of the repository's configuration, hooks, attributes, filters, grafts,
//! replacements, promisors or `include`s is ever opened. Every name is opened below a descriptor of the
//! repository's own folder ([`bottle_host::beneath`]), so no link leads out of it, even if it is swapped in
//! the meantime; and what git parses can no longer change. The repository may borrow objects from another
//! only where no guest could write ([`Source::stores`]).
//!
//! A repository is served as a whole or not at all. [`Source::check`] says why it cannot be served, and what
//! helps.
//!
//! The price is a copy of the objects, on the same disk, each time a branch has moved.

mod check;
mod configuration;
mod copy;
mod files;
mod open;
mod quoted;
mod refs;
mod stores;
mod unservable;

pub use check::Served;
pub use configuration::Configuration;
pub use open::Source;
pub use quoted::Quoted;
pub use refs::Refs;
pub use stores::Reach;
pub use unservable::Unservable;
