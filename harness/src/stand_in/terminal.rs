//! A terminal in the guest, as smolvm makes one: of its own, with this process's terminal in raw mode around it.
//!
//! Like smolvm, it restores what it changed only if it is not killed.

use anyhow::{Context, Result};
use bottle_host::process::die_with_parent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A pair of descriptors: the end of whoever has the terminal, and the end of the programs in it.
///
/// # Errors
/// Returns an error if the system has none.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((master, slave))
}

/// Returns a command that runs a program as the first of a new session, whose terminal is this.
///
/// # Errors
/// Returns an error if a descriptor cannot be copied.
pub fn command(program: impl AsRef<OsStr>, slave: &OwnedFd) -> Result<Command> {
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(program.as_ref());
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
    Ok(command)
}

/// The terminal of a guest's program.
pub struct Terminal {
    master: Arc<OwnedFd>,
    slave: OwnedFd,
}

/// This process's terminal, lent to a guest's.
pub struct Lent {
    modes: Option<Termios>,
    flags: OFlags,
    output: JoinHandle<()>,
}

impl Terminal {
    /// Makes a terminal of this process's terminal's size.
    ///
    /// # Errors
    /// Returns an error if the system has none.
    pub fn new() -> Result<Self> {
        let (master, slave) = pair()?;
        if let Ok(size) = tcgetwinsize(stdin()) {
            tcsetwinsize(&master, size)?;
        }
        Ok(Self { master: Arc::new(master), slave })
    }

    /// Returns a command that runs a program in it.
    ///
    /// # Errors
    /// Returns an error if a descriptor cannot be copied.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = command(program, &self.slave)?;
        die_with_parent(&mut command, Signal::KILL);
        Ok(command)
    }

    /// Passes bytes and sizes on, both ways. The program has been started.
    ///
    /// # Errors
    /// Returns an error if this process's terminal cannot be changed.
    pub fn lend(self) -> Result<Lent> {
        let modes = tcgetattr(stdin()).ok();
        if let Some(modes) = &modes {
            let mut raw = modes.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
        }
        let flags = fcntl_getfl(stdin())?;
        fcntl_setfl(stdin(), flags | OFlags::NONBLOCK)?;
        let master = Arc::clone(&self.master);
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGWINCH])?;
        thread::spawn(move || {
            for _ in &mut signals {
                let _ = tcgetwinsize(stdin()).and_then(|size| tcsetwinsize(&*master, size));
            }
        });
        let (from, to) = (Arc::clone(&self.master), Arc::clone(&self.master));
        thread::spawn(move || relay(stdin(), to.as_fd()));
        // With the last of the programs' descriptors, what they wrote ends.
        let output = thread::spawn(move || relay(from.as_fd(), stdout()));
        Ok(Lent { modes, flags, output })
    }
}

impl Lent {
    /// Gives it back, once everything is written.
    ///
    /// # Errors
    /// Returns an error if something failed on the way.
    pub fn give_back(self) -> Result<()> {
        self.output.join().ok().context("the output's thread")?;
        fcntl_setfl(stdin(), self.flags)?;
        if let Some(modes) = self.modes {
            tcsetattr(stdin(), OptionalActions::Flush, &modes)?;
        }
        Ok(())
    }
}

/// Copies until one end is gone.
fn relay(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut bytes = [0; 4096];
    loop {
        let read = match rustix::io::read(from, &mut bytes) {
            Ok(0) => return,
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => {
                let _ = poll(&mut [PollFd::new(&from, PollFlags::IN)], None);
                continue;
            }
            // The other end of a terminal is closed.
            Err(_) => return,
        };
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            match rustix::io::write(to, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN | Errno::INTR) => {
                    let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
                }
                Err(_) => return,
            }
        }
    }
}
