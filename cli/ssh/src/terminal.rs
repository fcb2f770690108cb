//! A terminal between smolvm and the client, so that smolvm gives the guest's command one.

use bottle_host::pty;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::unix::pipe::{Receiver, Sender};

/// A mode that smolvm switches off when it takes a terminal. It means nothing in a raw one.
const NOT_TAKEN: LocalModes = LocalModes::IEXTEN;
/// How often it is looked whether smolvm has taken the terminal.
const GLANCE: Duration = Duration::from_millis(5);

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    columns: u16,
    rows: u16,
}

impl Size {
    /// Returns a size as a client states it. A terminal has no larger one than the kernel can say.
    pub fn new(columns: u32, rows: u32) -> Self {
        let most = |number| u16::try_from(number).unwrap_or(u16::MAX);
        Self { columns: most(columns), rows: most(rows) }
    }
}

/// When a call is told of a changed size again, after it has taken the terminal, in milliseconds from one to the next. Until
/// the guest's own terminal is there, nobody listens.
const AGAIN: [u64; 6] = [50, 200, 750, 2_000, 5_000, 12_000];

/// This process's end of a terminal.
#[derive(Debug)]
pub struct Terminal {
    ours: OwnedFd,
    /// Whether its size was changed.
    is_resized: AtomicBool,
}

impl Terminal {
    /// Opens a terminal, and returns both of its ends. It passes every byte on unchanged: the guest has a terminal of
    /// its own.
    ///
    /// # Errors
    /// Returns an error if this machine has no more terminals.
    pub fn open(size: Size) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pty::pair()?;
        let mut modes = tcgetattr(&theirs)?;
        modes.make_raw();
        modes.local_modes |= NOT_TAKEN;
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        let terminal = Self { ours, is_resized: AtomicBool::new(false) };
        terminal.set(size)?;
        Ok((terminal, theirs))
    }

    fn set(&self, Size { columns, rows }: Size) -> io::Result<()> {
        Ok(tcsetwinsize(&self.ours, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// Changes the size, and tells the call about it. The kernel would only tell a call that the terminal controls.
    pub fn resize(&self, size: Size, call: Pid) {
        if self.set(size).is_ok() {
            self.is_resized.store(true, Relaxed);
            let _ = kill_process(call, Signal::WINCH);
        }
    }

    /// Tells a call of a size again that was changed while it or the guest's command was still being started.
    ///
    /// # Errors
    /// Returns an error as for [`Self::taken`].
    pub async fn remind(&self, call: Pid) -> io::Result<()> {
        self.taken()?.await;
        for pause in AGAIN {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.is_resized.load(Relaxed) {
                let _ = kill_process(call, Signal::WINCH);
            }
        }
        Ok(())
    }

    /// Waits until smolvm has taken the terminal. It drops what was typed before.
    ///
    /// # Errors
    /// Returns an error if this process has no descriptor left for that.
    pub fn taken(&self) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let terminal = self.ours.try_clone()?;
        Ok(async move {
            while tcgetattr(&terminal).is_ok_and(|modes| modes.local_modes.contains(NOT_TAKEN)) {
                tokio::time::sleep(GLANCE).await;
            }
        })
    }

    /// Returns a reader and a writer.
    ///
    /// # Errors
    /// Returns an error if the runtime cannot watch the terminal.
    pub fn streams(&self) -> io::Result<(Receiver, Sender)> {
        rustix::io::ioctl_fionbio(&self.ours, true)?;
        let clone = || self.ours.try_clone().map(std::fs::File::from);
        Ok((Receiver::from_file_unchecked(clone()?)?, Sender::from_file_unchecked(clone()?)?))
    }
}
