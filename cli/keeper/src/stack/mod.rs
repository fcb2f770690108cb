//! The running network stack behind the guard: its doors, the link to it, and the walls around it.
//!
//! The stack on this side is gvproxy. [`Jail`] puts the second wall around it, which needs Linux; [`Bare`] does not,
//! so on other systems the guard stands alone, and `bottle doctor` says so. The conformance harness tests both. Where
//! the guest's own kernel is the stack, nothing here runs: see [`crate::streams`].

mod bare;
mod endpoint;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod jail;
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
