//! What a machine's process takes of this machine, as the kernel counts it. Nothing is asked of the guest.

use crate::process_tree;
use rustix::param::{clock_ticks_per_second, page_size};
use schemars::JsonSchema;
use serde::Serialize;
use std::fs;
use std::time::Duration;

/// What a process has used since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// For how long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// The processor time that it took, in milliseconds. A virtual machine's includes what its guest computed.
    pub cpu_ms: u64,
    /// Its resident memory, in bytes. A virtual machine's includes what its guest has touched.
    pub memory_bytes: u64,
}

/// A moment, by the clock that the kernel's line about a process goes by.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// How long this machine has been up, in milliseconds.
    up_ms: u64,
}

impl Clock {
    /// Returns this moment, or `None` without `/proc`.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/uptime").ok()?)
    }

    fn parse(uptime: &str) -> Option<Self> {
        let (whole, part) = uptime.split_whitespace().next()?.split_once('.')?;
        Some(Self { up_ms: whole.parse::<u64>().ok()?.checked_mul(1000)? + part.parse::<u64>().ok()? * 10 })
    }
}

impl Usage {
    /// Reads what a process has used, or returns `None` if there is none with this number, or no `/proc`.
    pub fn of(pid: i32) -> Option<Self> {
        Self::at(&Clock::now()?, pid)
    }

    /// Reads the same of one of several processes, for all of which the moment is the same.
    pub fn at(clock: &Clock, pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&stat, clock, clock_ticks_per_second(), page_size() as u64)
    }

    /// Parses the kernel's line about a process. The program's name is in parentheses and may contain any byte, including
    /// parentheses.
    fn parse(stat: &str, clock: &Clock, ticks: u64, page: u64) -> Option<Self> {
        let field = fields(stat)?;
        let ms = |count: u64| count.saturating_mul(1000).checked_div(ticks);
        Some(Self {
            uptime_ms: clock.up_ms.saturating_sub(ms(field(22)?)?),
            cpu_ms: ms(field(14)?.saturating_add(field(15)?))?,
            memory_bytes: field(24)?.saturating_mul(page),
        })
    }

    /// Returns how much of one processor it took on average, in tenths of a percent. Two processors at work
    /// make 2000.
    pub fn average(&self) -> u64 {
        tenths(self.cpu_ms, self.uptime_ms)
    }

    /// Returns how much of one processor it took since an earlier look, in tenths of a percent.
    pub fn since(&self, before: &Self) -> u64 {
        tenths(self.cpu_ms.saturating_sub(before.cpu_ms), self.uptime_ms.saturating_sub(before.uptime_ms))
    }
}

/// Returns the fields of the kernel's line about a process, by their numbers in proc_pid_stat(5).
fn fields(stat: &str) -> Option<impl Fn(usize) -> Option<u64>> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Field 3, the state, is the first after the name.
    Some(move |number: usize| fields.get(number - 3)?.parse().ok())
}

/// Returns whether this process is in a process group that it can name. In a PID namespace that began after its group it
/// is in none (`getpgrp` returns 0), for which rustix has no type.
pub fn has_process_group() -> bool {
    let stat = fs::read_to_string("/proc/self/stat");
    stat.map_or(true, |stat| fields(&stat).and_then(|field| field(5)) != Some(0))
}

/// Returns the memory that a process and everything below it hold now, in bytes: their resident sets, in which a page
/// that two of them share counts twice. It is 0 where the kernel does not say.
pub fn memory_of_all(pid: i32) -> u64 {
    /// How many processes are looked at.
    const MOST: usize = 4096;
    let all = process_tree::all(pid, MOST).into_iter();
    all.filter_map(Usage::of).map(|used| used.memory_bytes).sum()
}

/// Returns how many bytes a process has had written to disks, where the kernel tells this user.
pub fn written(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// Returns the processor time of every child of this process that it has waited for, and of those that these have
/// waited for.
pub fn children_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let field = fields(&stat)?;
    let ticks = field(16)? + field(17)?;
    Some(Duration::from_millis(ticks.checked_mul(1000)?.checked_div(clock_ticks_per_second())?))
}

fn tenths(cpu_ms: u64, ms: u64) -> u64 {
    cpu_ms.saturating_mul(1000).checked_div(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let rest = "S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 3 0 1000 5000000 25 18446744073709551615";
        for name in ["smol-vmm", "a) R 1 (b", ""] {
            let clock = Clock::parse("110.50 3.00\n").unwrap();
            let used = Usage::parse(&format!("7 ({name}) {rest} 1 1"), &clock, 100, 4096);
            let wanted = Usage { uptime_ms: 100_500, cpu_ms: 3000, memory_bytes: 25 * 4096 };
            assert_eq!(used, Some(wanted), "{name}");
            assert_eq!(wanted.average(), 29);
        }
        for stat in ["", "7 (a) S 1", "7 a S", "7 (a) S"] {
            assert_eq!(Usage::parse(stat, &Clock { up_ms: 1000 }, 100, 4096), None, "{stat:?}");
        }
        assert!(Clock::parse("").is_none() && Clock::parse("1").is_none());
    }

    #[test]
    fn this_process_uses_something_and_a_moment_that_took_no_time_nothing() {
        let used = Usage::of(std::process::id().cast_signed()).unwrap();
        assert!(used.memory_bytes > 100_000, "{used:?}");
        assert_eq!(used.since(&used), 0);
        assert_eq!(Usage::of(-1), None);
    }

    #[test]
    fn a_process_that_works_uses_memory_and_time() {
        assert!(memory_of_all(std::process::id().cast_signed()) > 1 << 20);
        assert_eq!(memory_of_all(i32::MAX), 0);
        let before = children_time().unwrap();
        let busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(children_time().unwrap() > before);
    }
}
