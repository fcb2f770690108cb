//! The host's half of `bottle verify`. It sends everything that a guest could send, from the host,
//! through this keeper's own guard, into the live stack and to the live doors.
//!
//! The guest takes no part in it and learns nothing about it. It cannot forge the result: its own
//! frames with these source ports are dropped during the examination. What it did with such a port
//! before can at most keep a door from responding, which makes the examination inconclusive.

mod door;
mod limits;
mod run;
mod sweep;
mod unpredictable;

pub use limits::LONGEST;
pub use run::run;
