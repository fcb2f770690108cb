//! The network stack behind the guard, running: its doors, the link to it, and what stands around it.
//!
//! gvproxy is one: [`Jail`] puts the second wall around it, and needs Linux; [`Bare`] puts none:
//! elsewhere the guard stands alone, and `bottle doctor` says so. Linux itself is the other,
//! `kernel`, behind the same wall. The conformance harness judges them all.

mod bare;
mod endpoint;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod jail;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod kernel;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod namespace;
mod running;
mod start;
mod wait;
mod wall;

pub use bare::Bare;
pub use endpoint::Endpoint;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use jail::Jail;
pub use running::{Process, Running};
pub use start::{Here, start};
pub use wall::Wall;
