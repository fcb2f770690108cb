//! What a machine's processes have used so far, according to the kernel.

use bottle_host::process_tree;
use bottle_host::usage::Usage;
use std::fs;

/// How many processes are counted.
const MOST: usize = 256;

/// What a process and everything below it have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Memory that they take now, in bytes.
    pub memory: Option<u64>,
    /// Bytes read from disks.
    pub read: Option<u64>,
    /// Bytes written to disks.
    pub written: Option<u64>,
}

impl Used {
    /// Measures a process. What the kernel does not say, or not to this user, is left out.
    pub fn by(pid: i32) -> Self {
        let mut used = Self::default();
        process_tree::all(pid, MOST).into_iter().for_each(|pid| used.add(pid));
        used
    }

    fn add(&mut self, pid: i32) {
        let more = |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        let usage = Usage::of(pid);
        more(&mut self.cpu_ms, usage.map(|usage| usage.cpu_ms));
        more(&mut self.memory, usage.map(|usage| usage.memory_bytes));
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        more(&mut self.read, field("read_bytes:"));
        more(&mut self.written, field("write_bytes:"));
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    // Other systems have no such files.
    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_memory_and_one_that_is_gone_has_not() {
        let own = Used::by(rustix::process::getpid().as_raw_nonzero().get());
        assert!(own.memory > Some(1 << 16) && own.cpu_ms.is_some(), "{own:?}");
        assert_eq!(Used::by(i32::MAX), Used::default());
    }
}
