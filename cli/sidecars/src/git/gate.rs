//! The state of git-gate.

use crate::http::Server;
use bottle_core::slug::Slug;
use bottle_core::specification::Repo;
use bottle_host::starter::Starter;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// How many clones and fetches are served at a time. Together they use at most this many times the memory in
/// `Limits::serve`.
pub const MAX_FETCHES: usize = 4;
/// How many pushes are served at a time. See [`MAX_FETCHES`].
pub const MAX_PUSHES: usize = 2;

/// The built-in git-gate of one bottle.
#[derive(Debug)]
pub struct Gate {
    pub(super) repos: Vec<Repo>,
    pub(super) server: Server,
    pub(super) starter: Arc<Starter>,
    pub(super) hooks: Hooks,
    /// The file to which git's error messages are logged.
    pub(super) log: PathBuf,
    pub(super) fetches: Arc<Semaphore>,
    pub(super) pushes: Arc<Semaphore>,
}

/// The channel for the sockets of hooks. Each message is the socket of one push and the repository that its
/// hooks may talk about.
pub type Hooks = UnboundedSender<(Slug, OwnedFd)>;

impl Gate {
    /// Creates the git-gate of a bottle for these repositories.
    pub fn new(
        repos: Vec<Repo>,
        server: Server,
        starter: Arc<Starter>,
        hooks: Hooks,
        log: PathBuf,
    ) -> Arc<Self> {
        let permits = |count| Arc::new(Semaphore::new(count));
        let (fetches, pushes) = (permits(MAX_FETCHES), permits(MAX_PUSHES));
        Arc::new(Self { repos, server, starter, hooks, log, fetches, pushes })
    }
}
