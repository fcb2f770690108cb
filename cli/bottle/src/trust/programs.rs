//! What this machine's own programs are found by: `PATH` and the current folder. Where a guest could
//! write, neither is believed.

use anyhow::{Context, Result};
use bottle_host::defence::Defence;
use bottle_host::failure::Outcome;
use bottle_host::provenance::walk::walk;
use bottle_host::provenance::writable::{Within, WritablePaths};
use bottle_host::state::{Folder, Home, private_dir};
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Starts this program again where `PATH` has folders that a guest could write, without them: so
/// that neither it nor any child finds a program there.
///
/// # Errors
/// Where that cannot be found out, or the program cannot be started.
pub fn with_own_path() -> Outcome {
    // Without a home folder there is no state either; whoever needs one says so.
    let Ok(home) = Home::find() else { return Ok(()) };
    let Some(path) = cleaned_path(&home)? else { return Ok(()) };
    let mut again = Command::new(env::current_exe().context("this program")?);
    let error = again.args(env::args_os().skip(1)).env("PATH", path).exec();
    Err(anyhow::Error::from(error).context("this program").into())
}

/// `PATH` without the folders that a guest could write, where it has any.
///
/// # Errors
/// Where it cannot be found out which those are.
fn cleaned_path(home: &Home) -> Result<Option<OsString>> {
    let Some(path) = env::var_os("PATH").filter(|_| Defence::PinnedPaths.stands()) else { return Ok(None) };
    let writable = WritablePaths::read(home)?;
    if writable.paths.is_empty() {
        return Ok(None);
    }
    let here = env::current_dir().unwrap_or_default();
    let all: Vec<_> = env::split_paths(&path).collect();
    let good: Vec<_> = all.iter().filter(|dir| !is_guests(&writable, &here.join(dir))).collect();
    if good.len() == all.len() {
        return Ok(None);
    }
    Ok(Some(env::join_paths(good).context("PATH")?))
}

/// Leaves the current folder where a guest could write it: a program that is started in it may load
/// what it finds there.
///
/// # Errors
/// Where it cannot be left.
pub fn leave_ground(home: &Home, folder: &Folder) -> Result<()> {
    if !Defence::PinnedPaths.stands() {
        return Ok(());
    }
    let here = env::current_dir().unwrap_or_default();
    if here.is_absolute() && !is_guests(&WritablePaths::read(home)?, &here) {
        return Ok(());
    }
    let nowhere = folder.nowhere();
    private_dir(&nowhere)?;
    env::set_current_dir(&nowhere).with_context(|| nowhere.display().to_string())
}

fn is_guests(writable: &WritablePaths, path: &Path) -> bool {
    let Ok(walked) = walk(path) else { return true };
    writable.shared().any(|place| place.holds(&walked, false) != Within::No)
}
