//! The host's half of `bottle verify`: everything that a guest could send, sent from the host through
//! this keeper's own guard, into the live stack, to the live doors.
//!
//! The guest takes no part in it and learns nothing of it. It cannot forge the result: frames of its
//! own with these source ports are dropped meanwhile, and what it did with such a port before can at
//! most keep a door from answering, which makes the examination inconclusive.

mod door;
mod limits;
mod run;
mod sweep;
mod unforeseen;

pub use limits::LONGEST;
pub use run::run;
