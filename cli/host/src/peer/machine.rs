//! A machine, known by a process: which other processes are its own.

use super::process::{Process, SEEN, Stat, status};
use serde::{Deserialize, Serialize};
use std::fs;

/// A process that a machine is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its number.
    pub pid: i32,
    /// Which processes are the machine's.
    pub extent: Extent,
    /// Whether it has to run behind a seccomp filter.
    pub confined: bool,
}

/// Which processes are a machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// The named one alone: the virtual machine's own process.
    Itself,
    /// It and those below it: a call of smolvm's, which has the virtual machine's process as a child.
    Below,
    /// It and those in the process namespace that it is the first of: the harness's stand-in, whose
    /// guest has processes of this host. A virtual machine's process is in no such namespace.
    Inside,
}

/// A machine whose connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub(super) process: Process,
    pub(super) extent: Extent,
    /// Whether its process has to run behind a seccomp filter.
    pub confined: bool,
}

impl Machine {
    /// The machine that is known by a process; `None` where that has ended.
    pub fn named(named: Named) -> Option<Self> {
        let process = Process::of(named.pid)?;
        Some(Self { process, extent: named.extent, confined: named.confined })
    }

    /// The process that it is known by.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Whether a process is the machine's.
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

/// How far up a process's line of parents is looked.
const LINE: usize = 64;

/// Whether one process was started by another, or by what that has started. The line is walked twice:
/// a parent that has ended meanwhile, and whose number another process has now, is not in both.
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

/// Whether a process is in the process namespace that another is the first of. Where the kernel does
/// not show a confined keeper the namespaces themselves, it still shows how deep they are.
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
