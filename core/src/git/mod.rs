//! Decides what may be pushed through git-gate, and which files for git may come back from a guest.
//!
//! For a push, [`Policy`] decides about each ref from facts about the push. [`name`] says which names a
//! guest may choose, and [`path`] which paths it may not touch, however they are spelled. [`listed`]
//! reads what git prints about a push, [`tree`] weighs what it unfolds to, and [`url`] checks the URLs
//! of upstreams. For files, [`repository`] knows the names that git could take for a repository, and
//! [`gitmodules`] the settings that are harmless.

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
