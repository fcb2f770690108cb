//! The specification of a bottle: what `bottle.toml` is parsed into, and what the daemons run from.
//!
//! These types carry decisions between crates. They hold no rule of their own beyond their defaults:
//! what is parsed is checked where it enters, and what a plan contains is in [`crate::plan`].

mod audit;
mod gate;
mod limits;
mod published;
mod services;
mod setup;
mod sidecar;
mod stack;
mod workspace;

pub use audit::Need;
pub use gate::Repo;
pub use limits::Limits;
pub use published::Published;
pub use services::Services;
pub use setup::{Setup, SetupKeep};
pub use sidecar::{SidecarForm, SidecarSpec};
pub use stack::StackChoice;
pub use workspace::{MachineUser, WORKSPACE, Workspace};
