//! Protects the two ways in which this machine's programs are found: `PATH` and the current folder. Folders
//! that a guest could write are not used.

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

/// If `PATH` contains folders that a guest could write, starts this program again without them. Then neither
/// it nor any child finds a program there.
///
/// # Errors
/// Returns an error if the folders cannot be determined, or if the program cannot be started.
pub fn with_own_path() -> Outcome {
    // Without a home folder there is no state either. Whatever needs one reports it.
    let Ok(home) = Home::find() else { return Ok(()) };
    let Some(path) = cleaned_path(&home)? else { return Ok(()) };
    let mut again = Command::new(env::current_exe().context("this program")?);
    let error = again.args(env::args_os().skip(1)).env("PATH", path).exec();
    Err(anyhow::Error::from(error).context("this program").into())
}

/// Returns `PATH` without the folders that a guest could write, if it has any.
///
/// # Errors
/// Returns an error if they cannot be determined.
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

/// Leaves the current folder if a guest could write it: a program that starts there may load what it finds.
///
/// # Errors
/// Returns an error if it cannot be left.
pub fn leave_writable_folder(home: &Home, folder: &Folder) -> Result<()> {
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

/// Returns whether a guest could have written a file.
///
/// # Errors
/// Returns an error if that cannot be determined.
pub fn could_be_a_guests(home: &Home, path: &Path) -> Result<bool> {
    let writable = WritablePaths::read(home)?;
    Ok(walk(path).map_or(true, |walked| writable.around(&walked).is_some()))
}

fn is_guests(writable: &WritablePaths, path: &Path) -> bool {
    let Ok(walked) = walk(path) else { return true };
    writable.shared().any(|place| place.holds(&walked, false) != Within::No)
}
