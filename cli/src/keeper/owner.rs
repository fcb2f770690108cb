//! Whose life a keeper shares: at first its launcher's, then its machine's.

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// The process that a keeper lives for.
pub struct Owner {
    /// A pipe's end. It is at its end once the launcher, which has the other, is gone.
    launcher: AsyncFd<OwnedFd>,
    machine: Mutex<Option<OwnedFd>>,
    adopted: Notify,
}

impl Owner {
    /// A keeper that lives for whoever holds the other end of this pipe.
    pub fn new(pipe: OwnedFd) -> Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let launcher = AsyncFd::register_with_interest(pipe, Interest::READABLE)?;
        Ok(Self { launcher, machine: Mutex::new(None), adopted: Notify::new() })
    }

    /// From now on, live for this process.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        let pid = Pid::from_raw(pid).context("not a process id")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("the machine's process is gone")?;
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        self.adopted.notify_one();
        Ok(())
    }

    /// Waits until the owner is gone.
    pub async fn gone(&self) {
        tokio::select! {
            () = self.adopted.notified() => {}
            _ = self.launcher.readable() => return,
        }
        loop {
            let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(machine) = machine else { return };
            tokio::select! {
                _ = ended(&machine) => return,
                // Adopted once more: the machine was started again.
                () = self.adopted.notified() => {}
            }
        }
    }
}

/// Waits until a process has ended.
pub async fn ended(pidfd: &OwnedFd) -> Result<()> {
    let watched = AsyncFd::register_with_interest(pidfd.as_fd(), Interest::READABLE)?;
    let _ = watched.readable().await?;
    Ok(())
}
