//! The built-in egress proxy behind the `pipelock` door: HTTP/1.1, CONNECT and absolute-form,
//! default deny.
//!
//! What may leave is decided by `bottle_core::egress`; this carries it out. It dials the address
//! that it checked, so a name that changes its mind in between gains nothing.

mod dial;
mod headers;
mod open;
mod plain;
mod pool;
mod proxy;
mod reply;
mod serve;
mod tunnel;
mod upstream;
mod upstreams;

pub use proxy::EgressProxy;
