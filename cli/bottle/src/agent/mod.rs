//! Agents that bottle knows how to run: `bottle claude`, or `agent = "claude"` in `bottle.toml`.
//!
//! What is special about an agent is data, one [`Profile`](profile::Profile) each, and a person can add their own. Applying a profile to
//! a configuration ([`apply`]) only fills in what the configuration leaves open. [`Equipment`] is what the guest finds:
//! the agent's files, and a guide to the sandbox.

mod apply;
mod equipment;
mod guide;
mod known;
pub mod profile;

pub use apply::apply;
pub use equipment::Equipment;
pub use known::{find, misnamed, names};
