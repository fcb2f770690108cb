//! git-gate: the sidecar that the agent clones from and pushes to.
//!
//! It serves quarantine repositories and never the operator's own: [`quarantine`] keeps one for each
//! repository that `bottle.toml` names. [`source`] reads the operator's repository without git, because a
//! guest may have written it. [`pin`] records where its upstream is and what the upstream has. [`resolve`]
//! determines both before a bottle starts, and refuses a repository that cannot be served as a whole. [`cgi`]
//! hands a request to git itself, and [`child`] starts every git, with limits. git's own hooks ([`hook`])
//! inspect a push before any ref changes: [`objects`] lists the new objects, [`judge`] finds the guarded
//! paths that they touch, and [`scan`] finds secrets. `bottle_core::git` decides. A person looks at a waiting
//! push ([`show`]) and approves it; it is then forwarded with that person's own credentials.

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
pub mod resolve;
mod scan;
mod serve;
mod services;
pub mod show;
mod source;

pub use backend::command as backend;
pub use gate::{Gate, Hooks, MAX_FETCHES, MAX_PUSHES};
pub use scan::{SCANNED, scanned_kinds};
