//! A running child with a deadline.

use anyhow::Result;
use bottle_host::defence::Defence;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running child. It is killed at its deadline.
pub(super) struct Running {
    pub(super) child: Child,
    /// `None` once the child has been waited for: its process id may then belong to another process.
    alive: Arc<Mutex<Option<Pid>>>,
    grouped: bool,
    over: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Running {
    pub(super) fn new(child: Child, grouped: bool, wall: Duration) -> Self {
        let alive = Arc::new(Mutex::new(Some(Pid::from_child(&child))));
        let (over, end) = mpsc::channel();
        let watched = Arc::clone(&alive);
        let wall = if Defence::GitLimits.stands() { wall } else { Duration::from_secs(1 << 20) };
        let watch = thread::spawn(move || {
            let late = end.recv_timeout(wall) == Err(RecvTimeoutError::Timeout);
            if late {
                kill(&watched, grouped);
            }
            late
        });
        Self { child, alive, grouped, over, watch }
    }

    pub(super) fn kill(&self) {
        kill(&self.alive, self.grouped);
    }

    /// Waits until the child ends. Returns its status, and whether it was killed at its deadline.
    pub(super) fn end(mut self) -> Result<(ExitStatus, bool)> {
        let pid = Pid::from_child(&self.child);
        // The child stays a zombie, and keeps its process id, until nobody can kill it any more.
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        // Processes that the child left running end with it.
        if self.grouped {
            self.kill();
        }
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = self.child.wait()?;
        drop(self.over);
        Ok((status, self.watch.join().unwrap_or(false)))
    }
}

fn kill(alive: &Mutex<Option<Pid>>, grouped: bool) {
    if let Some(pid) = *alive.lock().unwrap_or_else(PoisonError::into_inner) {
        // If it has already exited, there is nothing left to kill.
        let _ = if grouped { kill_process_group(pid, Signal::KILL) } else { kill_process(pid, Signal::KILL) };
    }
}
