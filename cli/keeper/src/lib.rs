//! The keeper: one host process per bottle, which lives as long as the bottle.
//!
//! It owns the socket that smolvm mounts, the guard, the network stack in its jail, the doors, the built-in
//! sidecars and the audit log. When it dies, its children die with it, and the guest reaches nothing.
//!
//! [`launch`] starts a keeper from a command. [`link`] is the guest's socket, with the guard on it; [`stack`]
//! is the network stack behind it, and `doors` serves the doors. `requests` answers commands. [`starter`] is
//! the process that starts programs for a keeper, which must not start any itself.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod admission;
mod begin;
pub mod counters;
mod daemon;
mod doors;
pub mod examine;
mod launch;
pub mod link;
mod machine_user;
mod own_log;
mod owner;
mod relay;
mod requests;
mod shared;
mod sidecars;
pub mod stack;
pub mod starter;
mod streams;
mod watch;

pub use begin::Arguments;
pub use daemon::{Helpers, main};
pub use launch::{Keeper, Reach, Starting, bind, give, give_guest_socket, launch};
pub use owner::when_ended;
