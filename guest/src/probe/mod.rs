//! The in-guest half of the conformance checks. It tries to reach what it is told to, and reports what
//! happened. It judges nothing: the harness outside does, because it knows what the canaries saw.
//!
//! Both halves share [`Question`] and [`Answer`] on every system. The rest runs in a guest.

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod ask;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod canary;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod dns;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod local;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod outcome;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod ping;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod ports;
mod protocol;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod raw;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod streams;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod sweep;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod vsock;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use ask::main;
pub use protocol::{Answer, Attempt, Question};
