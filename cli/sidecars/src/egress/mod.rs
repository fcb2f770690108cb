//! The egress proxy: the built-in sidecar called `pipelock`. It speaks HTTP/1.1, with CONNECT and
//! absolute-form requests, and denies by default.
//!
//! `bottle_core::egress` decides what may leave, and this module acts on the decision. It dials the address
//! that it checked, so a name whose address changes in between gains nothing.

mod carry;
mod dial;
mod headers;
mod open;
mod parent;
mod pass;
mod plain;
mod pool;
mod proxy;
pub mod public_suffix;
mod race;
mod reply;
mod serve;
mod tunnel;
mod upstream;
mod upstreams;
mod websocket;

pub use proxy::EgressProxy;
