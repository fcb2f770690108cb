//! `bottle-guest end`: ends a command that another helper watches, with everything that it started.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long the other helper may take. It kills after two seconds.
const LONGEST: Duration = Duration::from_secs(9);
const GLANCE: Duration = Duration::from_millis(10);

/// Runs `bottle-guest end WORD`: tells the helper that reports with this word to end its command, and waits for that.
///
/// # Errors
/// Returns an error if there is no word.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let word = words.into_iter().next().context("expected the word of a report")?;
    let Some(pid) = helper(word.as_bytes()) else { return Ok(ExitCode::SUCCESS) };
    let end = Instant::now() + LONGEST;
    let _ = kill_process(pid, Signal::TERM);
    while test_kill_process(pid).is_ok() && helper(word.as_bytes()) == Some(pid) && Instant::now() < end {
        thread::sleep(GLANCE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the helper that was started with `--report WORD`.
fn helper(word: &[u8]) -> Option<Pid> {
    started_with(b"--report", word)
}

/// Returns the helper that runs a command and was started with this option and word.
pub(super) fn started_with(option: &[u8], word: &[u8]) -> Option<Pid> {
    let own = rustix::process::getpid();
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|pid| *pid != own).find(|pid| {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&b"exec".as_slice())
            && words.windows(2).take(64).any(|pair| pair == [option, word])
    })
}
