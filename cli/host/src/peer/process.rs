//! A process, identified by its number and its start time.

use rustix::fs::Uid;
use rustix::process::{Pid, test_kill_process};
use std::fs;

/// Whether the kernel shows who is at the other end. If not, only the owner can reach the socket.
pub(super) const SEEN: bool = cfg!(all(target_os = "linux", not(bottle_portable)));

/// A process, distinct from every other that had or will have its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub(super) pid: i32,
    pub(super) started: u64,
}

impl Process {
    /// Returns the process that has this number now, if there is one.
    pub fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.process)
    }

    /// Returns the process that had this number and start time, if it still runs.
    pub fn again(pid: i32, started: u64) -> Option<Self> {
        Self::of(pid).filter(|process| process.started == started)
    }

    /// Returns when it started, in ticks since this machine's start.
    pub fn started(self) -> u64 {
        self.started
    }

    /// Returns its number.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Returns the user that it runs as, or `None` if it has ended.
    pub fn user(self) -> Option<Uid> {
        if !SEEN {
            return Some(rustix::process::geteuid());
        }
        let ids = status(self.pid, "Uid")?;
        let effective = ids.split_whitespace().nth(1)?.parse().ok()?;
        (Self::of(self.pid) == Some(self)).then(|| Uid::from_raw(effective))
    }

    /// Returns whether the kernel says that it runs behind a seccomp filter, or `None` if it has ended.
    pub fn is_filtered(self) -> Option<bool> {
        let mode = status(self.pid, "Seccomp")?;
        (Self::of(self.pid) == Some(self)).then(|| mode == "2")
    }
}

/// The kernel's one-line description of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub process: Process,
    pub parent: i32,
}

impl Stat {
    pub fn read(pid: i32) -> Option<Self> {
        if !SEEN {
            let lives = Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
            return lives.then_some(Self { process: Process { pid, started: 0 }, parent: 0 });
        }
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses the line. The program's name is in parentheses and may contain any byte, including parentheses.
    pub fn parse(pid: i32, line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!matches!(state, "Z" | "X" | "x")).then_some(Self { process: Process { pid, started }, parent })
    }
}

/// Returns a field of the kernel's longer description of a process.
pub(super) fn status(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}
