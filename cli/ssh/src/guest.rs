//! The guest that a connection leads to, and what was opened in it.

use bottle_core::helper::HELPER;
use bottle_host::defence::Defence;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::{Smolvm, Terminal};
use bottle_host::state::Folder;
use rustix::process::Signal;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::process::Command;

/// How long the call may take that sends a signal. The helper waits two seconds for a command that is being started, and an
/// emulated guest is slow.
const LONGEST: Duration = Duration::from_secs(10);

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

    /// Sends a signal to the command that was started under this name, and waits for that, but not for long: the guest
    /// decides how long it takes.
    pub async fn signal(&self, called: &str, signal: &str) {
        let mut call =
            self.smolvm.exec(self.folder.slug(), Terminal::Pipe, &[HELPER, "signal", called, signal]);
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        die_with_parent(&mut call, Signal::TERM);
        let Ok(mut call) = Command::from(call).kill_on_drop(true).spawn() else { return };
        let _ = tokio::time::timeout(patience(LONGEST), call.wait()).await;
    }
}

/// Returns a limit, unless a test takes limits away.
pub(crate) fn patience(limit: Duration) -> Duration {
    if Defence::SshLeaves.stands() { limit } else { Duration::from_secs(3600) }
}
