//! What processes used of this machine, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// How deep below a process others are looked for. smolvm's own depth is three.
const DEEPEST: usize = 16;
/// How many processes are looked at.
const MOST: usize = 4096;

/// Returns the memory that a process and everything below it hold now, in bytes: their resident sets, in which a page
/// that two of them share counts twice. It is 0 where the kernel does not say.
pub fn memory(pid: u32) -> u64 {
    let mut level = vec![pid];
    let (mut sum, mut seen) = (0, 0);
    for _ in 0..DEEPEST {
        let mut next = Vec::new();
        for pid in level {
            seen += 1;
            if seen > MOST {
                return sum;
            }
            sum += resident(pid).unwrap_or_default();
            next.extend(children(pid));
        }
        level = next;
    }
    sum
}

/// Returns the processor time of every child of this process that it has waited for, and of those that these have
/// waited for.
pub fn children_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // The 16th and 17th of all fields; the first two come before the parenthesis.
    let ticks = fields.get(13)?.parse::<u64>().ok()? + fields.get(14)?.parse::<u64>().ok()?;
    let a_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks.checked_mul(1000)?.checked_div(a_second)?))
}

fn resident(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for thread in threads.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_that_works_uses_memory_and_time() {
        assert!(memory(std::process::id()) > 1 << 20);
        assert_eq!(memory(u32::MAX), 0);
        let before = children_time().unwrap();
        let busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(children_time().unwrap() > before);
    }
}
