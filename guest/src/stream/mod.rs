//! Streams between the helper and the keeper: one for each TCP connection of the agent.
//!
//! [`bottle_core::stream`] defines the format on the wire. [`socket`] is one end without that format,
//! [`relay`] passes a TCP connection's bytes on in chunks and back, [`again`] uses a connection for one stream after
//! the other, and [`door`] is the keeper's end for a sidecar in the same process. Both ends use the same code.

pub mod again;
pub mod door;
pub mod relay;
pub mod socket;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod splice;
