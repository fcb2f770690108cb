//! The process that a keeper lives for: at first its launcher, then its machine.

use anyhow::{Context, Result};
use bottle_host::peer::Process;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot::{Receiver, channel};
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// The process that a keeper lives for.
pub struct Owner {
    /// Resolves when the launcher has ended. The launcher holds the other end of a pipe.
    launcher: AsyncMutex<Receiver<()>>,
    machine: Mutex<Option<Receiver<()>>>,
    adopted: Notify,
}

impl Owner {
    /// Creates an owner that lasts until the other end of this pipe is closed, or until another owner adopts
    /// the keeper.
    pub fn new(pipe: OwnedFd) -> Result<Self> {
        let launcher = AsyncMutex::new(when_ready(pipe)?);
        Ok(Self { launcher, machine: Mutex::new(None), adopted: Notify::new() })
    }

    /// Makes the keeper live for this process from now on.
    pub fn adopt(&self, process: Process) -> Result<()> {
        let machine = when_ended(Pid::from_raw(process.pid()).context("not a process id")?)?;
        // Check again: the process id could have been reused before the wait began.
        anyhow::ensure!(Process::of(process.pid()) == Some(process), "the process has ended");
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Some(machine);
        self.adopted.notify_one();
        Ok(())
    }

    /// Waits until the owner has ended.
    pub async fn gone(&self) {
        let mut launcher = self.launcher.lock().await;
        tokio::select! {
            () = self.adopted.notified() => {}
            _ = &mut *launcher => return,
        }
        loop {
            let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(machine) = machine else { return };
            tokio::select! {
                _ = machine => return,
                // Adopted again: the machine was restarted.
                () = self.adopted.notified() => {}
            }
        }
    }
}

/// Returns a receiver that resolves when a process has ended.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn when_ended(pid: Pid) -> Result<Receiver<()>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    when_ready(pidfd_open(pid, PidfdFlags::empty()).context("the process has ended")?)
}

/// Returns a receiver that resolves when a process has ended. This system has no descriptors for processes,
/// so a thread polls.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn when_ended(pid: Pid) -> Result<Receiver<()>> {
    const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);
    let (sender, receiver) = channel();
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        while rustix::process::test_kill_process(pid).is_ok() {
            thread::sleep(POLL_INTERVAL);
        }
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

/// Returns a receiver that resolves when a descriptor is readable or at its end. A sleeping thread waits for
/// that.
pub fn when_ready(fd: OwnedFd) -> Result<Receiver<()>> {
    let (sender, receiver) = channel();
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        let mut waited = [PollFd::new(&fd, PollFlags::IN)];
        while let Err(rustix::io::Errno::INTR) = poll(&mut waited, None) {}
        let _ = sender.send(());
    })?;
    Ok(receiver)
}
