//! `bottle-guest signal`: sends a signal to a command that another helper runs.

use super::descendants::children;
use super::end::started_with;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long a command that is being started may take to be there.
const LONGEST: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(10);

/// Runs `bottle-guest signal WORD NAME`: sends the signal of this name to the process group of the command that was
/// started with `exec --called WORD`. One that has ended is no error.
///
/// # Errors
/// Returns an error if there is no word, or no such signal.
pub fn main(words: &[OsString]) -> Result<ExitCode> {
    let [word, name] = words else { bail!("expected the word of a command, and a signal") };
    let signal = named(&name.to_string_lossy()).context("there is no such signal")?;
    let end = Instant::now() + LONGEST;
    loop {
        if let Some(helper) = started_with(b"--called", word.as_bytes()) {
            send(helper, signal);
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() > end {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(GLANCE);
    }
}

/// Sends a signal to what a helper runs, or to the helper, which has not started it yet and passes on what it gets.
fn send(helper: Pid, signal: Signal) {
    let groups = children(helper);
    for group in &groups {
        let _ = kill_process_group(*group, signal);
    }
    if groups.is_empty() {
        let _ = kill_process(helper, signal);
    }
}

/// Returns a signal by its name in SSH (RFC 4254, 6.10).
fn named(name: &str) -> Option<Signal> {
    Some(match name {
        "ABRT" => Signal::ABORT,
        "ALRM" => Signal::ALARM,
        "FPE" => Signal::FPE,
        "HUP" => Signal::HUP,
        "ILL" => Signal::ILL,
        "INT" => Signal::INT,
        "KILL" => Signal::KILL,
        "PIPE" => Signal::PIPE,
        "QUIT" => Signal::QUIT,
        "SEGV" => Signal::SEGV,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => return None,
    })
}
