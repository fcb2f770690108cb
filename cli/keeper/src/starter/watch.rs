//! Watches a child, and ends it when nobody listens any more or its time is up.

use anyhow::Result;
use bottle_host::starter::{Said, wire};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to clean up when it is asked to end.
const GRACE: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Reports when a child has ended. When nobody listens any more or its time is up, it is killed, together
/// with everything that it started if it has its own process group.
pub fn watch(mut child: Child, reply: &OwnedFd, limit: Option<Duration>, grouped: bool) -> Result<()> {
    let reply = rustix::io::fcntl_dupfd_cloexec(reply, 0)?;
    let exit = ExitWatch::of(&child)?;
    thread::Builder::new().name("watch".to_owned()).spawn(move || {
        if exit.exits_before_hang_up(&mut child, &reply, limit) == Some(false) {
            if grouped {
                end_group(&mut child);
            }
            let _ = child.kill();
        }
        let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        // If nobody listens, nobody needs to know.
        let _ = wire::send(&reply, &Said::Ended(how), &[]);
    })?;
    Ok(())
}

/// Ends a process group. It gets SIGTERM first, so that git can delete what was pushed so far.
fn end_group(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let end = Instant::now() + GRACE;
    // The child has not been waited for, so its process id cannot be reused and no other group is killed.
    while !has_ended(group) && Instant::now() < end {
        thread::sleep(POLL_INTERVAL);
    }
    let _ = kill_process_group(group, Signal::KILL);
}

fn has_ended(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    !matches!(waitid(WaitId::Pid(child), options), Ok(None))
}

/// Detects that a child has ended.
struct ExitWatch {
    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    process: OwnedFd,
}

impl ExitWatch {
    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    fn of(child: &Child) -> Result<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        Ok(Self { process: pidfd_open(Pid::from_child(child), PidfdFlags::empty())? })
    }

    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    fn exits_before_hang_up(&self, _: &mut Child, reply: &OwnedFd, limit: Option<Duration>) -> Option<bool> {
        let mut both = [PollFd::new(&self.process, PollFlags::IN), PollFd::new(reply, PollFlags::empty())];
        let limit = limit.and_then(|limit| rustix::event::Timespec::try_from(limit).ok());
        rustix::io::retry_on_intr(|| poll(&mut both, limit.as_ref())).ok()?;
        Some(!both[0].revents().is_empty() && both[1].revents().is_empty())
    }

    #[cfg(any(not(target_os = "linux"), bottle_portable))]
    fn of(_: &Child) -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(any(not(target_os = "linux"), bottle_portable))]
    fn exits_before_hang_up(
        &self,
        child: &mut Child,
        reply: &OwnedFd,
        limit: Option<Duration>,
    ) -> Option<bool> {
        let (since, interval) = (Instant::now(), rustix::event::Timespec::try_from(POLL_INTERVAL).ok());
        while child.try_wait().ok()?.is_none() {
            if limit.is_some_and(|limit| since.elapsed() > limit) {
                return Some(false);
            }
            let mut listened = [PollFd::new(reply, PollFlags::empty())];
            if rustix::io::retry_on_intr(|| poll(&mut listened, interval.as_ref())).ok()? > 0 {
                return Some(false);
            }
        }
        Some(true)
    }
}
