//! A process, and every process below it.

use std::fs;

/// How deep below a process others are looked for. smolvm's own depth is three.
const DEEPEST: usize = 16;

/// Returns a process and those below it, the nearest first, and no more than `most`. Those below are left out where
/// the kernel does not list them.
pub fn all(pid: i32, most: usize) -> Vec<i32> {
    let mut found = vec![pid];
    let mut level = 0..1;
    for _ in 1..DEEPEST {
        for at in level.clone() {
            let room = most.saturating_sub(found.len());
            let below = children(found[at]);
            found.extend(below.into_iter().take(room));
        }
        level = level.end..found.len();
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for thread in threads.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    // Other systems have no such files.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_grandchild_is_below_a_process_and_no_more_are_found_than_wanted() {
        use std::io::Read;
        use std::process::{Command, Stdio};
        let script = "sh -c 'echo $$; read x; :'; :";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = [0; 32];
        let read = shell.stdout.as_mut().unwrap().read(&mut said).unwrap();
        let grandchild: i32 = std::str::from_utf8(&said[..read]).unwrap().trim().parse().unwrap();
        let own = std::process::id().cast_signed();
        assert!(all(own, 4096).contains(&grandchild));
        assert_eq!(all(own, 1), [own]);
        assert_eq!(all(i32::MAX, 4096), [i32::MAX]);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
