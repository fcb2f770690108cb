//! Says which machines are to be kept ready.

use anyhow::{Context, Result};
use bottle_host::pool::{Shape, Wanted, has_warmer};
use bottle_host::state::Home;
use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The variables that the warmer keeps, and so the machines that it starts: those with which programs and folders are
/// found. A key that somebody exported for one project is in no machine of another.
const KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"];
const KEPT_BEGINNINGS: [&str; 6] = ["XDG_", "LC_", "BOTTLE_", "SMOLVM_", "SMOL_", "STAND_IN_"];

/// Asks for this many machines of a shape, and starts the process that keeps them ready, unless there is one.
///
/// # Errors
/// Returns an error if that cannot be recorded, or if the process cannot be started.
pub fn ask(home: &Home, shape: Shape, machines: u8) -> Result<()> {
    Wanted { shape, machines }.ask(home)?;
    if has_warmer(home) {
        return Ok(());
    }
    let mut warmer = Command::new(env::current_exe().context("this program's own path")?);
    warmer.arg("warmer").env_clear().envs(env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        KEPT.contains(&&*name) || KEPT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    }));
    warmer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    // What is for this process's terminal is not for it. Nobody waits for it.
    warmer.process_group(0).spawn().context("cannot start the warmer")?;
    Ok(())
}

/// Asks for no machines any more, if something was asked for.
///
/// # Errors
/// Returns an error if that cannot be recorded.
pub fn ask_for_none(home: &Home) -> Result<()> {
    Wanted::withdraw_all(home)
}
