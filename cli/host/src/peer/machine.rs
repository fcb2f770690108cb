//! A machine, identified by a process, and the other processes that belong to it.

use super::process::{Process, SEEN, Stat, status};
use serde::{Deserialize, Serialize};
use std::fs;

/// The process that identifies a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its process number.
    pub pid: i32,
    /// Which processes belong to the machine.
    pub extent: Extent,
    /// Whether it must run behind a seccomp filter.
    pub confined: bool,
}

/// Which processes belong to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Only the named process: the virtual machine's own.
    Itself,
    /// The named process and its descendants: a call of smolvm, whose child is the virtual machine's process.
    Below,
    /// The named process and those in the process namespace whose first process it is: the harness's
    /// stand-in, whose guest has processes on this host. A virtual machine's process is in no such namespace.
    Inside,
}

/// A machine whose connections are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub(super) process: Process,
    pub(super) extent: Extent,
    /// Whether its process must run behind a seccomp filter.
    pub confined: bool,
}

impl Machine {
    /// Returns the machine that a process identifies, or `None` if that process has ended.
    pub fn named(named: Named) -> Option<Self> {
        let process = Process::of(named.pid)?;
        Some(Self { process, extent: named.extent, confined: named.confined })
    }

    /// Returns the process that identifies it.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Returns whether a process belongs to the machine.
    pub fn has(&self, process: Process) -> bool {
        !SEEN
            || process == self.process
            || match self.extent {
                Extent::Itself => false,
                Extent::Below => is_below(process, self.process),
                Extent::Inside => is_inside(process, self.process),
            }
    }
}

/// How many ancestors of a process are examined.
const LINE: usize = 64;

/// Returns whether one process is a descendant of another. The ancestors are walked twice: a parent that
/// ended meanwhile, and whose number was reused, cannot appear both times.
fn is_below(process: Process, ancestor: Process) -> bool {
    let line = || {
        let mut line = vec![Stat::read(process.pid)?];
        while line.last()?.process != ancestor {
            let parent = line.last()?.parent;
            if parent == 0 || line.len() == LINE {
                return None;
            }
            line.push(Stat::read(parent)?);
        }
        (line[0].process == process).then_some(line)
    };
    line().is_some_and(|first| line() == Some(first))
}

/// Returns whether a process is in the process namespace whose first process is `first`. A kernel that does
/// not show a confined keeper the namespaces still shows how deep they are.
fn is_inside(process: Process, first: Process) -> bool {
    let numbers = |process: Process| {
        let numbers = status(process.pid, "NSpid")?;
        Some(numbers.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let (Some(its), Some(firsts)) = (numbers(process), numbers(first)) else { return false };
    let namespace = |process: Process| fs::read_link(format!("/proc/{}/ns/pid", process.pid)).ok();
    let same = match (namespace(process), namespace(first)) {
        (Some(its), Some(firsts)) => its == firsts,
        _ => true,
    };
    same && firsts.len() > 1
        && firsts.last().is_some_and(|number| number == "1")
        && its.len() == firsts.len()
        && Process::of(process.pid) == Some(process)
        && Process::of(first.pid) == Some(first)
}
