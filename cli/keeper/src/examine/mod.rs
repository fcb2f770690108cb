//! The host's half of `bottle verify`. From the host, it does whatever a guest could do, to this keeper's own
//! walls and live doors.
//!
//! [`frames`] sends every kind of frame through the guard, into the live stack and to the live doors. Where
//! the guest's own kernel is the stack, [`openings`] asks for a stream to every port.
//!
//! The guest takes no part in it and learns nothing about it. It cannot forge the result: its own frames with
//! these source ports are dropped during the examination. Whatever it did with such a port before can at most
//! keep a door from responding, which makes the examination inconclusive.

mod door;
mod frames;
mod limits;
mod openings;
mod sweep;
mod unpredictable;

use crate::link::{Link, Traffic};
use anyhow::Result;
use bottle_core::plan::Plan;
use bottle_host::control::Examined;
pub use limits::LONGEST;
use std::net::SocketAddr;

/// Examines the walls of a plan. `canaries` are addresses of this machine where something listens that no
/// guest may reach. Whoever opened them sees what arrives there.
///
/// # Errors
/// Returns an error if another examination is running.
pub fn run(link: &Link, plan: &Plan, canaries: &[SocketAddr], nonce: &str) -> Result<Examined> {
    match link.traffic() {
        Traffic::Frames(crossing) => frames::run(crossing, plan, canaries, nonce),
        // A stream names no address, so no canary can be asked for.
        Traffic::Streams(streams) => openings::run(streams, plan),
    }
}
