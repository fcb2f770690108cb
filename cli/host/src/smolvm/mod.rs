//! Drives the `smolvm` command from outside.
//!
//! Its output may contain what a guest wrote to its console or on standard error, so it is read up to a limit
//! and shown as a guest's words.

mod call;
mod command;
mod connect;
mod disk;
mod launch;
mod machine;
mod supported;
mod warm;

pub(crate) use call::{PATIENCE, bounded};
pub use command::{CONFINED, Smolvm};
pub use connect::Carrier;
pub use disk::Disks;
pub use launch::{Launch, Terminal};
pub use machine::{Machine, pool_machine_name};
pub(crate) use supported::tested;
pub use supported::{OLDEST, TESTED};
pub use warm::Warm;
