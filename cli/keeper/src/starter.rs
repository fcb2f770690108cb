//! The process that starts programs for a keeper: it holds each request to the plan that it read before
//! there was a guest.

mod log;
mod server;
mod watch;

pub use server::main;
