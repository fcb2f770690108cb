//! git-gate's state.

use crate::http::Room;
use bottle_core::slug::Slug;
use bottle_core::specification::Repo;
use bottle_host::starter::Starter;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// How many clones and fetches are served at a time, and how many pushes. What they have in memory
/// at most is these many times [`Limits::serve`]'s.
pub const MAX_FETCHES: usize = 4;
/// See [`MAX_FETCHES`].
pub const MAX_PUSHES: usize = 2;

/// The built-in git-gate of one bottle.
#[derive(Debug)]
pub struct Gate {
    pub(super) repos: Vec<Repo>,
    pub(super) room: Room,
    pub(super) starter: Arc<Starter>,
    pub(super) hooks: Hooks,
    /// Where git's complaints are written down.
    pub(super) log: PathBuf,
    pub(super) fetches: Arc<Semaphore>,
    pub(super) pushes: Arc<Semaphore>,
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
}
