//! What is on a stopped machine's disks, for another machine of the same image.
//!
//! smolvm has no command for that: it packs a machine's disk into a program, or saves one that runs without mounted
//! sockets. Its own command names the folder that a machine's disks are in (`machine data-dir`), and a machine starts with what it
//! finds there (1.32.2). What a machine with an image has changed is on the second disk, in a folder of the machine's own name. So
//! that disk is first given to a machine without image, network, folders or sockets, which renames the folder: the file
//! system is the guest's, and this host does not read it.

use super::call::{PATIENCE, bounded, last_words};
use super::command::Smolvm;
use super::launch::{Launch, Terminal};
use super::machine::{LABEL, STATE_LABEL};
use super::supported::TESTED;
use crate::beneath::{self, Folder as Beneath};
use crate::failure::{Failure, Kind, Outcome};
use crate::state::{Folder, write_private};
use crate::workspace::copy_with_holes;
use anyhow::{Context, Result, ensure};
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::MachineUser;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The disk with what was changed of a root file system without an image.
const ROOT: &str = "overlay.qcow2";
/// The disk with everything else.
const STORAGE: &str = "storage.qcow2";
/// What says that a disk has its file system already.
const MARKS: [&str; 2] = ["overlay.formatted", STORAGE_MARK];
const STORAGE_MARK: &str = "storage.formatted";
/// Where a machine with an image keeps what it has changed.
const OVERLAYS: &str = "/storage/overlays/persistent-";
/// How long the machine that renames a folder may take to start.
const LONGEST: Duration = Duration::from_secs(300);

/// A bottle's disks, copied for another bottle. Dropping it removes what was not given to a machine.
#[derive(Debug)]
pub struct Disks(PathBuf);

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Smolvm {
    /// Copies the disks of a bottle's machine for that of another bottle, which does not exist yet. Returns `None` if the
    /// machine has never run: then it has no disks.
    ///
    /// # Errors
    /// Returns an error if smolvm keeps its disks in another way, or if there is no room.
    pub fn copy_disks(&self, from: &Slug, to: &Folder, has_image: bool) -> Outcome<Option<Disks>> {
        let place = self.data_dir(from)?;
        let source = match beneath::open(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(|| place.display().to_string())?,
        };
        if [ROOT, STORAGE].iter().all(|name| is_missing(&source, name)) {
            return Ok(None);
        }
        let disks = Disks(to.state().join("disks"));
        copy_all(&source, &disks.0).with_context(|| place.display().to_string())?;
        if has_image && !self.stand_in {
            self.rename_overlay(from, to, &disks)?;
        }
        Ok(Some(disks))
    }

    /// Gives a bottle's machine, which has never run, the disks that were copied for it.
    ///
    /// # Errors
    /// Returns an error if there is no room.
    pub fn give_disks(&self, to: &Slug, disks: &Disks) -> Outcome {
        let from = beneath::open(&disks.0).map_err(anyhow::Error::from)?;
        let place = self.data_dir(to)?;
        Ok(copy_all(&from, &place).with_context(|| place.display().to_string())?)
    }

    /// Renames the folder of what a machine has changed for a machine of the other name.
    fn rename_overlay(&self, from: &Slug, to: &Folder, disks: &Disks) -> Outcome {
        let machine = to.slug().machine_name();
        let file = disks.0.join("machine.toml");
        let bare = Smolfile {
            image: None,
            cpus: 1,
            memory: 512,
            net: false,
            workdir: None,
            volumes: Vec::new(),
            env: Vec::new(),
        };
        write_private(&file, bare.render().map_err(anyhow::Error::from)?.as_bytes())?;
        let mut create = self.command();
        create.args(["machine", "create", "--name", &machine, "--smolfile"]).arg(&file);
        create.arg("--label").arg(format!("{LABEL}={}", to.slug()));
        create.arg("--label").arg(format!("{STATE_LABEL}={}", to.state_id()));
        self.finish(create, "create", Some(PATIENCE))?;
        let renamed = self.rename_in(&machine, from, to, disks);
        let deleted = self.delete(&machine);
        renamed.and(deleted)
    }

    /// Does that in the machine that was created for it.
    fn rename_in(&self, machine: &str, from: &Slug, to: &Folder, disks: &Disks) -> Outcome {
        let place = self.data_dir(to.slug())?;
        // As the machine's own process ran: its user may read what the disk stands on.
        let ran_as =
            fs::symlink_metadata(self.data_dir(from)?.join(STORAGE)).map_err(anyhow::Error::from)?.uid();
        let is_ours = ran_as == rustix::process::geteuid().as_raw();
        let user = if is_ours { MachineUser::Root } else { MachineUser::Smolvms };
        let copied = || -> Result<()> {
            let target = folder(&place)?;
            copy(&beneath::open(&disks.0)?, &target, STORAGE)?;
            // An image's own disk has none, and a machine without an image would make a new file system.
            std::io::Write::write_all(&mut target.create(STORAGE_MARK.as_ref(), 0o600)?, b"1")?;
            Ok(())
        };
        copied().with_context(|| place.display().to_string())?;
        let mut start = self.starting(Launch { user, watches: false });
        start.args(["machine", "start", "--name", machine]);
        self.finish(start, "start", Some(LONGEST))?;
        let (was, is) = (from.machine_name(), to.slug().machine_name());
        let words = ["mv", "-T", "--", &format!("{OVERLAYS}{was}"), &format!("{OVERLAYS}{is}")];
        let moved = self.finish(self.exec_in(machine, Terminal::Pipe, None, &words), "exec", Some(PATIENCE));
        self.stop(to.slug())?;
        moved.map_err(|failure| {
            failure.help(format!(
                "bottle was tested with smolvm {TESTED}, which keeps a machine's changes under its name"
            ))
        })?;
        let exchanged = || -> Result<()> {
            let (from, to) = (beneath::open(&place)?, beneath::open(&disks.0)?);
            to.remove_file(STORAGE.as_ref())?;
            copy(&from, &to, STORAGE)
        };
        Ok(exchanged().with_context(|| place.display().to_string())?)
    }

    /// Asks where a machine's disks are.
    fn data_dir(&self, slug: &Slug) -> Outcome<PathBuf> {
        let mut command = self.command();
        command.args(["machine", "data-dir", "--name", &slug.machine_name()]);
        let finished = bounded(command, Some(PATIENCE)).map_err(anyhow::Error::from)?;
        let said = String::from_utf8_lossy(&finished.out);
        let path = PathBuf::from(said.trim());
        if finished.status.success() && path.is_absolute() {
            return Ok(path);
        }
        let why = last_words(&finished);
        Err(Failure::new(Kind::Unavailable, format!("this smolvm does not say where it keeps disks: {why}"))
            .help(format!("bottle was tested with smolvm {TESTED}")))
    }
}

/// Creates and opens a folder of disks.
fn folder(place: &Path) -> Result<Beneath> {
    DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    Ok(beneath::open(place)?)
}

/// Copies both disks and their marks into a folder without disks.
fn copy_all(from: &Beneath, place: &Path) -> Result<()> {
    let to = folder(place)?;
    for name in [ROOT, STORAGE] {
        copy(from, &to, name)?;
    }
    MARKS.iter().filter(|name| !is_missing(from, name)).try_for_each(|name| copy(from, &to, name))
}

fn is_missing(folder: &Beneath, name: &str) -> bool {
    folder.meta(name.as_ref()).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Copies a file. A machine's process could have put anything in its place.
fn copy(from: &Beneath, to: &Beneath, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    let (file, meta) = from.file(name).with_context(|| name.display().to_string())?;
    ensure!(meta.has_one_name, "{} has another name, too", name.display());
    let made = to.create(name, 0o600)?;
    copy_with_holes(&file, meta.len, &made)?;
    Ok(made.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn disks_are_copied_whole_and_nothing_that_is_put_in_their_place_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("from")).unwrap();
        let put = |name: &str| fs::write(at("from").join(name), name).unwrap();
        let copied = |to: &str| copy_all(&beneath::open(&at("from")).unwrap(), &at(to));
        put(ROOT);
        assert!(copied("one").is_err());
        put(STORAGE);
        put(STORAGE_MARK);
        put("agent.sock");
        copied("two").unwrap();
        let mut names: Vec<_> =
            fs::read_dir(at("two")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [ROOT, STORAGE_MARK, STORAGE]);
        assert_eq!(fs::read_to_string(at("two").join(ROOT)).unwrap(), ROOT);
        // Disks that are there already are not written over.
        assert!(copied("two").is_err());
        fs::write(at("secret"), "secret").unwrap();
        for is_link in [true, false] {
            fs::remove_file(at("from").join(STORAGE)).unwrap();
            let (secret, disk) = (at("secret"), at("from").join(STORAGE));
            let done = if is_link { symlink(secret, disk) } else { fs::hard_link(secret, disk) };
            done.unwrap();
            assert!(copied("three").is_err());
            assert!(!at("three").join(STORAGE).exists());
            let _ = fs::remove_dir_all(at("three"));
        }
    }
}
