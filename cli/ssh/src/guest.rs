//! The guest that a connection leads to, and what was opened in it.

use bottle_host::smolvm::Smolvm;
use bottle_host::state::Folder;
use std::sync::atomic::AtomicU64;

/// The guest that a connection leads to.
#[derive(Debug)]
pub struct Guest {
    /// The bottle's folders.
    pub folder: Folder,
    /// The virtual machine monitor.
    pub smolvm: Smolvm,
    /// How many sessions were opened.
    pub sessions: AtomicU64,
    /// How many connections were forwarded.
    pub forwarded: AtomicU64,
}

impl Guest {
    /// Returns a bottle's guest, in which nothing was opened.
    pub fn new(folder: &Folder, smolvm: Smolvm) -> Self {
        let (sessions, forwarded) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { folder: folder.clone(), smolvm, sessions, forwarded }
    }
}
