//! git-gate: where the agent clones and pushes.
//!
//! It serves quarantine repositories, never the user's own: [`quarantine`] keeps one for each that
//! `bottle.toml` names. A request goes to git itself ([`cgi`]); what is pushed is looked at by git's
//! own hooks ([`hook`], [`scan`]) before a ref changes, and decided by `bottle_core::git`. A person
//! approves what waits, and it goes on with that person's own credentials.

mod cgi;
pub mod hook;
pub mod quarantine;
mod scan;

pub use cgi::command as backend;

use crate::confine::{self, Policy};
use crate::defence::Defence;
use crate::http::{self, Room};
use crate::out;
use crate::starter::Starter;
use anyhow::Result;
use bottle_core::git::Policy as PushPolicy;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// How many git processes run at a time.
const MAX_PROCESSES: usize = 8;

/// A repository that the agent clones and pushes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repo {
    /// What its URL ends with, before `.git`. It has the form of a slug.
    pub name: Slug,
    /// The user's own repository: it is read, and never written.
    pub path: PathBuf,
    /// Where what is approved goes: one of its remotes, or a URL.
    pub upstream: String,
    /// What may be pushed.
    #[serde(default)]
    pub policy: PushPolicy,
}

/// The built-in git-gate of one bottle.
#[derive(Debug)]
pub struct Gate {
    repos: Vec<Repo>,
    room: Room,
    starter: Arc<Starter>,
    hooks: Hooks,
    processes: Arc<Semaphore>,
}

/// Takes the socket on which the hooks of one push speak, and the repository that they may speak of.
pub type Hooks = UnboundedSender<(Slug, OwnedFd)>;

impl Gate {
    /// One for these repositories.
    pub fn new(repos: Vec<Repo>, room: Room, starter: Arc<Starter>, hooks: Hooks) -> Arc<Self> {
        let processes = Arc::new(Semaphore::new(MAX_PROCESSES));
        Arc::new(Self { repos, room, starter, hooks, processes })
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
        let found = crate::preflight::in_path(program).and_then(|path| path.canonicalize().ok());
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

/// git, on a repository of ours: no configuration but the repository's, and nobody to ask. It reads
/// what a guest has pushed, so it is confined to that.
fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    git.env("LC_ALL", "C").arg("--git-dir").arg(repository);
    if let Err(error) = confine(&mut git, repository, &[]) {
        out::note(format_args!("git runs unconfined: {error:#}"));
    }
    git
}
