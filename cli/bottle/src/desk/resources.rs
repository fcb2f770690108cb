//! What a machine's processes have used so far, according to the kernel.

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
        let mut processes = vec![pid];
        let mut at = 0;
        while let Some(pid) = processes.get(at).copied().filter(|_| at < MOST) {
            used.add(pid);
            processes.extend(below(pid));
            at += 1;
        }
        used
    }

    fn add(&mut self, pid: i32) {
        let more = |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        more(&mut self.cpu_ms, cpu_ms(pid));
        more(&mut self.memory, memory(pid));
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        more(&mut self.read, field("read_bytes:"));
        more(&mut self.written, field("write_bytes:"));
    }
}

fn cpu_ms(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
}

fn memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

fn below(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
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
