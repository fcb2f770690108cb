//! The first wall: a pure decision about every Ethernet frame.
//!
//! Only two things from the guest pass: ARP for the gateway and the proxy address, and TCP over IPv4 to
//! the proxy address on the port of an active sidecar. The guard answers DNS for `proxy.internal` itself,
//! so no question ever reaches a resolver that could recurse. It refuses everything else with a typed
//! [`Refusal`]. Where the refused frame alone is enough to make a reply, it makes one: a refusal must not
//! look like a hang. In the other direction, only the mirror image passes.
//!
//! A decision looks at headers only, so its cost does not grow with the frame. It never allocates: the
//! caller owns the [`Reply`] that an answer is written into.
//!
//! `policy` decides. `ethernet`, `arp`, `ipv4` and `dns` read frames, `reply` writes the guard's own, and
//! `frames` and `first_packet` make the frames that a guest could send. `describe` puts a frame into words.

mod arp;
mod describe;
mod dns;
pub(crate) mod ethernet;
mod first_packet;
mod frames;
pub(crate) mod ipv4;
mod policy;
mod refusal;
mod reply;

pub use describe::describe;
pub use ethernet::{GATEWAY_MAC, GUEST_MAC, Mac};
pub use first_packet::FirstPacket;
pub use frames::{Segment, flag};
pub use policy::{Guard, Verdict};
pub use refusal::Refusal;
pub use reply::Reply;
pub(crate) use reply::checksum;
