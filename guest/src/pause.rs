//! `bottle-guest pause`: holds a machine whose bottle is not known yet, in place of what its image would run.

use anyhow::Result;
use rustix::process::{WaitOptions, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;

/// Waits until it is told to end. As the first process of a container it inherits what others leave behind, and buries
/// it.
///
/// # Errors
/// Returns an error if signals cannot be received.
pub fn main() -> Result<ExitCode> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
    for signal in &mut signals {
        if signal != SIGCHLD {
            break;
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
    Ok(ExitCode::SUCCESS)
}
