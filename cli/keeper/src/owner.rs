//! Whose life a keeper shares: at first its launcher's, then its machine's.

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
    /// The launcher has the other end of a pipe; once it is gone, this is told.
    launcher: AsyncMutex<Receiver<()>>,
    machine: Mutex<Option<Receiver<()>>>,
    adopted: Notify,
}

impl Owner {
    /// A keeper that lives for whoever holds the other end of this pipe.
    pub fn new(pipe: OwnedFd) -> Result<Self> {
        let launcher = AsyncMutex::new(when_ready(pipe)?);
        Ok(Self { launcher, machine: Mutex::new(None), adopted: Notify::new() })
    }

    /// From now on, live for this process.
    pub fn adopt(&self, process: Process) -> Result<()> {
        let machine = when_ended(Pid::from_raw(process.pid()).context("not a process id")?)?;
        // What is waited for now is that process and not another that has got its number.
        anyhow::ensure!(Process::of(process.pid()) == Some(process), "the process is gone");
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Some(machine);
        self.adopted.notify_one();
        Ok(())
    }

    /// Waits until the owner is gone.
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
                // Adopted once more: the machine was started again.
                () = self.adopted.notified() => {}
            }
        }
    }
}

/// Tells when a process has ended.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn when_ended(pid: Pid) -> Result<Receiver<()>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    when_ready(pidfd_open(pid, PidfdFlags::empty()).context("the process is gone")?)
}

/// Tells when a process has ended: by asking, where the system has no descriptor for one.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn when_ended(pid: Pid) -> Result<Receiver<()>> {
    const GLANCE: std::time::Duration = std::time::Duration::from_millis(100);
    let (sender, receiver) = channel();
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        while rustix::process::test_kill_process(pid).is_ok() {
            thread::sleep(GLANCE);
        }
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

/// Tells when a descriptor has something to read or is at its end. A thread waits for it, asleep.
pub fn when_ready(fd: OwnedFd) -> Result<Receiver<()>> {
    let (sender, receiver) = channel();
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        let mut waited = [PollFd::new(&fd, PollFlags::IN)];
        while let Err(rustix::io::Errno::INTR) = poll(&mut waited, None) {}
        let _ = sender.send(());
    })?;
    Ok(receiver)
}
