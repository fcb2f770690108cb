//! The decisions of `bottle`, and nothing else.
//!
//! This crate does no I/O: it is `no_std`, reads no clock and no environment, and has no `unsafe`.
//! It takes bytes, names and sets, and returns decisions and rendered text. The programs around it
//! carry them out.
//!
//! Read it in the order in which a bottle comes to life. [`slug`] names it, [`subnet`] and [`ports`]
//! give it addresses, and [`plan`] puts them together. [`smolfile`] and [`gvproxy`] render what the
//! machine and its network stack read; [`environment`] is what the agent sees. [`wire`] frames what
//! crosses the link, and [`guard`] decides about every frame. [`stream`] and [`report`] are what crosses it where the
//! guest's own kernel speaks TCP. [`egress`] and [`upstream`] decide about
//! every request that leaves through the egress proxy, and [`git`] about every push. [`parent`] is the proxy
//! through which this machine itself goes. [`examine`] asks the guard everything that a guest could.
//!
//! The guest helper uses this crate without the feature `host`, and so links none of what only the host
//! decides.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "host")]
pub mod doors;
#[cfg(feature = "host")]
pub mod egress;
#[cfg(feature = "host")]
pub mod environment;
pub mod examine;
#[cfg(feature = "host")]
pub mod execution;
pub mod git;
pub mod guard;
#[cfg(feature = "host")]
pub mod gvproxy;
pub mod helper;
pub mod offload;
#[cfg(feature = "host")]
pub mod parent;
#[cfg(feature = "host")]
pub mod paste;
#[cfg(feature = "host")]
pub mod pipelock;
#[cfg(feature = "host")]
pub mod plan;
#[cfg(feature = "host")]
pub mod ports;
pub mod report;
#[cfg(feature = "host")]
pub mod sidecar;
#[cfg(feature = "host")]
pub mod slug;
#[cfg(feature = "host")]
pub mod smolfile;
#[cfg(feature = "host")]
pub mod specification;
#[cfg(feature = "host")]
pub mod stack;
pub mod stream;
pub mod subnet;
#[cfg(feature = "host")]
pub mod text;
#[cfg(feature = "host")]
pub mod upstream;
pub mod visible;
pub mod wire;

/// The only name that a guest can resolve.
pub const PROXY_NAME: &str = "proxy.internal";
