//! Gives a machine that has started what a fresh one would have had from the start.
//!
//! What a machine shares is fixed when it is created, as folders and not as paths. So a folder that a waiting machine
//! shares is filled, and moves to where the bottle's own folder would be. It is filled from a finished folder, one name
//! at a time: nothing is read from it, and a name that is there already is refused, because its guest may be hostile.

use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_host::beneath;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::state::remove_file;
use rustix::fs::Uid;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;

/// Puts everything of a finished folder into one that a machine shares, which then takes its place.
///
/// # Errors
/// Returns an error if the machine's folder has one of the names already, or is on another file system.
pub fn pour(finished: &Path, shared: &Path) -> Result<()> {
    let poured = || -> Result<()> {
        let (from, to) = (beneath::open(finished)?, beneath::open(shared)?);
        for name in from.names()? {
            let name = name?;
            from.rename_new(&name, &to, &name)?;
            fail_point::reached(FailPoint::PoolPouring);
        }
        to.set_mode(from.own_meta()?.mode & beneath::MODE)?;
        fs::remove_dir(finished)?;
        Ok(fs::rename(shared, finished)?)
    };
    poured().with_context(|| format!("cannot fill {}", finished.display()))
}

/// Empties a folder that is ours to write, and that a machine only reads.
///
/// # Errors
/// Returns an error if something cannot be removed.
pub fn empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        remove_file(&entry?.path())?;
    }
    Ok(())
}

/// Writes the variables of a plan to where the helper reads them. They are nobody's but this user's and the machine's.
///
/// # Errors
/// Returns an error if they cannot be written.
pub fn variables(file: &Path, plan: &Plan, machine: Uid) -> Result<()> {
    let written = || -> Result<()> {
        let mut options = OpenOptions::new();
        let mut to = options.write(true).create_new(true).mode(0o600).open(file)?;
        for (name, value) in plan.environment() {
            write!(to, "{name}={value}\0")?;
        }
        if machine != rustix::process::geteuid() {
            chown(file, Some(machine.as_raw()), None)?;
        }
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn the_shared_folder_stays_itself_and_takes_the_place_of_the_finished_one() {
        let dir = tempfile::tempdir().unwrap();
        let [finished, shared] = ["finished", "shared"].map(|name| dir.path().join(name));
        fs::create_dir_all(finished.join("below")).unwrap();
        fs::write(finished.join("below/file"), "content").unwrap();
        symlink("/etc/passwd", finished.join("link")).unwrap();
        fs::create_dir(&shared).unwrap();
        let inode = fs::metadata(&shared).unwrap().ino();
        pour(&finished, &shared).unwrap();
        assert_eq!(fs::metadata(&finished).unwrap().ino(), inode);
        assert_eq!(fs::read_to_string(finished.join("below/file")).unwrap(), "content");
        assert_eq!(fs::read_link(finished.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert!(!shared.exists());
    }

    #[test]
    fn a_name_that_a_guest_put_there_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let [finished, shared, outside] = ["finished", "shared", "outside"].map(|name| dir.path().join(name));
        fs::create_dir(&finished).unwrap();
        fs::create_dir(&shared).unwrap();
        fs::write(finished.join("file"), "secret").unwrap();
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, shared.join("file")).unwrap();
        assert!(pour(&finished, &shared).is_err());
        assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
    }
}
