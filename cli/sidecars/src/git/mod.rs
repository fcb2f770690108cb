//! git-gate: where the agent clones and pushes.
//!
//! It serves quarantine repositories, never the operator's own: [`quarantine`] keeps one for each that
//! `bottle.toml` names. The operator's is read by [`source`], without git, since a guest may have
//! written it; where its upstream is and what that has is recorded by [`pin`]. A request goes to git
//! itself ([`cgi`]); every git is started by [`child`], with limits. What is pushed is looked at by
//! git's own hooks ([`hook`]) before a ref changes: [`objects`] lists what is new, [`judge`] finds the
//! guarded paths it touches, [`scan`] secrets; `bottle_core::git` decides. A person sees what waits
//! ([`show`]) and approves it, and it goes on with that person's own credentials.

mod backend;
mod cgi;
pub mod child;
mod confine;
mod gate;
pub mod hook;
mod judge;
mod objects;
mod outgoing;
pub mod pin;
pub mod quarantine;
mod reply;
mod scan;
mod serve;
mod services;
pub mod show;
mod source;

pub use backend::command as backend;
pub use gate::{Gate, Hooks, MAX_FETCHES, MAX_PUSHES};
