//! The running network stack behind the guard: its doors, the link to it, and the walls around it.
//!
//! There are two stacks. One is gvproxy. [`Jail`] puts the second wall around it, which needs Linux; [`Bare`]
//! does not, so on other systems the guard stands alone, and `bottle doctor` says so. The other is Linux
//! itself, `kernel`, behind the same wall. The conformance harness tests them all.

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
