//! Ports of a guest on this machine's loopback: `[[publish]]`, and `bottle publish`.
//!
//! A process of its own, the publisher, listens on the loopback and opens a stream into the guest for each connection: a
//! call of smolvm that runs the helper there. So it works with every network stack, and a guest gets no way out by it:
//! it can only answer on a stream that the host opened, and nothing that it says names a port or an address.
//! [`listen`] is the publisher; [`record`] says what is published now.

pub mod listen;
pub mod record;
