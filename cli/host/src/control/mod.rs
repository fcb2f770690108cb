//! The requests of commands to a keeper, and its answers: one JSON line each, on a private socket.

mod client;
mod examined;
mod git_event;
mod inbox;
mod message;
mod status;

pub use client::{CHANNEL, Lent, MAX_LINE, ask, ask_within, demand, handed_down, keeper, lend, status};
pub use examined::{Door, Examined};
pub use git_event::GitEvent;
pub use inbox::{AgentRequest, Decision, Waiting};
pub use message::{Answer, Request};
pub use status::{Snapshot, Status};
