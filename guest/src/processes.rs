//! `bottle-guest processes`: what runs in the guest, one JSON object a line, for `bottle top`.
//!
//! A root filesystem need not have `ps`, and those that do print it in different forms. Whoever reads this has
//! the guest's word for it, and no more.

use anyhow::Result;
use rustix::param::{clock_ticks_per_second, page_size};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::process::ExitCode;

/// The longest command line that is told of, in bytes.
const LONGEST: usize = 1024;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The number of its user.
    pub uid: u32,
    /// The processor time that it took, in milliseconds.
    pub cpu_ms: u64,
    /// Its resident memory, in bytes.
    pub memory_bytes: u64,
    /// Its command line, or its name in brackets if it has none.
    pub command: String,
}

/// Runs `bottle-guest processes`.
///
/// # Errors
/// Returns an error if nobody reads the output.
pub fn main() -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let numbers =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for process in numbers.filter_map(read).filter(|process| process.pid != std::process::id()) {
        serde_json::to_writer(&mut out, &process)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a process, unless it has ended meanwhile.
fn read(pid: u32) -> Option<Process> {
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let (stat, status) = (file("stat")?, String::from_utf8_lossy(&file("status")?).into_owned());
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
    parse(pid, uid?, &String::from_utf8_lossy(&stat), &file("cmdline")?)
}

/// Parses the kernel's line about a process. The name in it can contain anything, also `)`.
fn parse(pid: u32, uid: u32, stat: &str, cmdline: &[u8]) -> Option<Process> {
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // Field 3 of proc_pid_stat(5), the state, is the first after the name.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let words = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    let words = &words[..words.len().min(LONGEST)];
    let command = match String::from_utf8_lossy(words).replace('\0', " ") {
        none if none.is_empty() => format!("[{}]", before.split_once('(')?.1),
        command => command,
    };
    Some(Process {
        pid,
        uid,
        cpu_ms: field(14)?.saturating_add(field(15)?).saturating_mul(1000) / clock_ticks_per_second(),
        memory_bytes: field(24)?.saturating_mul(page_size() as u64),
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let rest = "S 1 7 7 0 -1 0 0 0 0 0 3 4 0 0 20 0 1 0 5 0 2";
        let parsed = |name: &str, cmdline: &[u8]| parse(7, 0, &format!("7 ({name}) {rest}"), cmdline);
        let command = |name: &str, cmdline: &[u8]| parsed(name, cmdline).map(|process| process.command);
        assert_eq!(command("sh", b"sh\0-c\0true\0").as_deref(), Some("sh -c true"));
        assert_eq!(command("a) S 9 (b", b"").as_deref(), Some("[a) S 9 (b]"));
        assert_eq!(command("x", &[b'y'; 9000]).map(|command| command.len()), Some(LONGEST));
        assert_eq!(parsed("sh", b"sh").map(|process| process.memory_bytes), Some(2 * page_size() as u64));
        assert_eq!(parse(7, 0, "7 (x) S 1", b""), None);
    }

    #[test]
    fn this_process_is_one() {
        let own = read(std::process::id()).unwrap();
        assert!(own.memory_bytes > 0 && !own.command.is_empty(), "{own:?}");
    }
}
