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

use crate::http::{self, Room};
use crate::state::Folder;
use bottle_core::git::Policy;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

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
    pub policy: Policy,
}

/// The built-in git-gate of one bottle.
#[derive(Debug)]
pub struct Gate {
    folder: Folder,
    repos: Vec<Repo>,
    room: Room,
    processes: Arc<Semaphore>,
}

impl Gate {
    /// One for these repositories.
    pub fn new(folder: Folder, repos: Vec<Repo>, room: Room) -> Arc<Self> {
        Arc::new(Self { folder, repos, room, processes: Arc::new(Semaphore::new(MAX_PROCESSES)) })
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

/// git, on a repository of ours: no configuration but the repository's, and nobody to ask.
fn git(repository: &std::path::Path) -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    git.env("LC_ALL", "C").arg("--git-dir").arg(repository);
    git
}
