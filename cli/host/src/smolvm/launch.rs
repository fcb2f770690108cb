//! How a machine and the programs in it are started.

use bottle_core::specification::MachineUser;

/// How a machine's process is started.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// The user that it runs as.
    pub user: MachineUser,
    /// Whether the guest shares a folder that may change on this host while it runs.
    pub watches: bool,
}

/// How a guest's program is connected to this process's own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Standard input is a pipe, a file or nothing.
    Pipe,
    /// Standard input and output are a terminal.
    Tty,
}

impl Terminal {
    /// Chooses according to this process's own streams.
    pub fn here() -> Self {
        let tty = |fd| rustix::termios::isatty(fd);
        if tty(rustix::stdio::stdin()) && tty(rustix::stdio::stdout()) { Self::Tty } else { Self::Pipe }
    }

    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Pipe => &["-i"],
            Self::Tty => &["-i", "-t"],
        }
    }
}
