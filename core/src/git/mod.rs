//! What git is allowed to do: what may be pushed through git-gate, and what may come back from a guest.
//!
//! For a push, [`Policy`] decides about each ref from facts about the push: [`name`] says which names
//! a guest may choose, [`path`] which paths it may not touch, whatever they look like, [`listed`] reads
//! what git prints about a push, [`tree`] weighs what it unfolds to, and [`url`] says where upstreams
//! are. For files, [`repository`] knows the names that git could take for a repository, and
//! [`gitmodules`] the settings that it could run something for.

mod fold;
pub mod gitmodules;
#[cfg(feature = "host")]
pub mod listed;
#[cfg(feature = "host")]
pub mod name;
#[cfg(feature = "host")]
pub mod path;
#[cfg(feature = "host")]
mod policy;
pub mod repository;
#[cfg(feature = "host")]
pub mod tree;
#[cfg(feature = "host")]
pub mod url;

#[cfg(feature = "host")]
pub use policy::{InvalidRefPattern, Policy, RefPattern, RefRule, Refused, Update, Verdict};
