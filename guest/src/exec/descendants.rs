//! Every process that this one started, directly or not. It is their subreaper, so none of them gets away by
//! losing its parent.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};
use std::collections::{HashMap, HashSet};
use std::fs;

/// Sends a signal to each of them, and returns how many there were. Those that have ended and only wait for their
/// parent do not count.
pub fn signal(signal: Signal) -> usize {
    let all = running(parents(), getpid().as_raw_nonzero().get());
    all.into_iter().filter_map(Pid::from_raw).filter(|pid| kill_process(*pid, signal).is_ok()).count()
}

/// Returns the processes that one started, without what those started.
pub fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero().get();
    parents()
        .into_iter()
        .filter(|(_, parent)| *parent == of)
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

/// Takes note of those that have ended.
pub fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Returns every process of the guest that has not ended, with its parent.
fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let stat = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, parent(&fs::read(entry.path().join("stat")).ok()?)?))
    };
    entries.flatten().filter_map(stat).collect()
}

/// Reads the parent from `/proc/PID/stat`. The name before it can contain anything, also `)`.
fn parent(stat: &[u8]) -> Option<i32> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(stat.get(after..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

fn running(parents: HashMap<i32, i32>, root: i32) -> HashSet<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents {
        children.entry(parent).or_default().push(pid);
    }
    let (mut found, mut next) = (HashSet::new(), vec![root]);
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if found.insert(child) {
                next.push(child);
            }
        }
    }
    found.remove(&root);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_hide_its_parent() {
        assert_eq!(parent(b"7 (sleep) S 5 7 7 0"), Some(5));
        assert_eq!(parent(b"7 (a) Z 1 (b) S 5 7"), Some(5));
        for none in ["7 (gone) Z 5 7", "7 sleep S 5", "7 (a)", ""] {
            assert_eq!(parent(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn descendants_are_found_through_all_generations_and_nobody_else_is() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 9), (9, 6)]);
        assert_eq!(running(parents, 2), HashSet::from([3, 4]));
    }
}
