//! git-gate: where the agent clones and pushes.
//!
//! It serves quarantine repositories, never the operator's own: [`quarantine`] keeps one for each that
//! `bottle.toml` names. The operator's is read by [`source`], without git, since a guest may have
//! written it; where its upstream is and what that has is recorded by [`pin`]. A request goes to git
//! itself ([`cgi`]); every git is started by [`child`], with limits. What is pushed is looked at by
//! git's own hooks ([`hook`]) before a ref changes: [`objects`] lists what is new, [`judge`] finds the
//! guarded paths it touches, [`scan`] secrets; `bottle_core::git` decides. A person sees what waits
//! ([`show`]) and approves it, and it goes on with that person's own credentials.

mod cgi;
pub mod child;
pub mod hook;
mod judge;
mod objects;
mod outgoing;
pub mod pin;
pub mod quarantine;
mod scan;
pub mod show;
mod source;

pub use cgi::command as backend;

use crate::http::{self, Room};
use anyhow::Result;
use bottle_core::slug::Slug;
use bottle_core::specification::Repo;
use bottle_host::confine::{self, Policy};
use bottle_host::defence::Defence;
use bottle_host::starter::Starter;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// How many clones and fetches are served at a time, and how many pushes. What they have in memory
/// at most is these many times [`child::Limits::serve`]'s.
pub const MAX_FETCHES: usize = 4;
/// See [`MAX_FETCHES`].
pub const MAX_PUSHES: usize = 2;

/// The built-in git-gate of one bottle.
#[derive(Debug)]
pub struct Gate {
    repos: Vec<Repo>,
    room: Room,
    starter: Arc<Starter>,
    hooks: Hooks,
    /// Where git's complaints are written down.
    log: PathBuf,
    fetches: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
}

/// Takes the socket on which the hooks of one push speak, and the repository that they may speak of.
pub type Hooks = UnboundedSender<(Slug, OwnedFd)>;

impl Gate {
    /// One for these repositories.
    pub fn new(repos: Vec<Repo>, room: Room, starter: Arc<Starter>, hooks: Hooks, log: PathBuf) -> Arc<Self> {
        let seats = |count| Arc::new(Semaphore::new(count));
        let (fetches, pushes) = (seats(MAX_FETCHES), seats(MAX_PUSHES));
        Arc::new(Self { repos, room, starter, hooks, log, fetches, pushes })
    }

    /// Serves a door until its listener fails.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener) {
        let gate = Arc::clone(self);
        http::serve(listener, &self.room, move |request| {
            let gate = Arc::clone(&gate);
            async move { Ok(cgi::answer(&gate, request).await) }
        })
        .await;
    }
}

/// Confines a git process to a store of ours, and to reading these files.
///
/// # Errors
/// Where the kernel has what it takes and refuses it.
pub fn confine(command: &mut Command, store: &Path, read: &[PathBuf]) -> Result<()> {
    if !Defence::GitConfined.stands() {
        return Ok(());
    }
    let mut run = vec![std::env::current_exe()?, quarantine::hooks(store)];
    for program in ["git", "gitleaks"] {
        // Wherever the operator has them; what they read for themselves is beside them.
        let found = bottle_host::tools::in_path(program).and_then(|path| path.canonicalize().ok());
        run.extend(found.as_deref().and_then(home_of));
        run.extend(found);
    }
    confine::child(command, &Policy::git(store, read, &run))
}

/// Where a program's own files are, where it has a place of its own: `/opt/git` of `/opt/git/bin/git`.
fn home_of(program: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|bin| bin.ends_with("bin"))?;
    bin.parent().filter(|home| home.parent().is_some()).map(Path::to_owned)
}
