//! The process that starts programs for a keeper. It checks each request against the plan, which it read
//! before there was a guest.

mod log;
mod server;
mod watch;

pub use server::main;
