//! Assembles what comes out of a guest beside its destination, and moves it there once it is complete.

use crate::trust::enter::entered;
use anyhow::{Context, Result};
use bottle_core::git::repository::Parts;
use bottle_core::visible::Bytes;
use bottle_guest::archive::{LeftOut, split};
use bottle_host::beneath::{self, Folder, Kind};
use bottle_host::failure::{self, Failure, Outcome};
use rustix::process::{Pid, test_kill_process};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The prefix of the folders in which a copy is assembled. A process's number follows.
const STAGE: &str = ".bottle-cp.";

/// The destination of a copy, and the folder in which it is assembled.
pub struct Arrival {
    /// The folder that will contain it.
    into: Folder,
    /// The name that it gets in that folder.
    name: OsString,
    /// Both, as one path.
    path: PathBuf,
    stage: Folder,
    stage_name: OsString,
}

impl Arrival {
    /// Prepares a copy from a path in the guest to a path on this machine: into it if that is a folder, under
    /// the source's last name; otherwise under the given name.
    pub fn at(from: &OsStr, to: &Path) -> Outcome<Self> {
        let unnamed = || {
            Failure::new(failure::Kind::Usage, format!("{} does not end in a name", Bytes(from.as_bytes())))
                .help("copy it to a path that is not there yet: its last name is what it will be called")
        };
        let (folder, name) = if to.is_dir() {
            (to, Path::new(from).file_name().ok_or_else(unnamed)?)
        } else {
            let (above, name) = split(to);
            (above, name.ok_or_else(unnamed)?)
        };
        let what = || folder.display().to_string();
        let into = entered(folder)?;
        remove_stale(&into);
        let stage_name = OsString::from(format!("{STAGE}{}", std::process::id()));
        let stage = into.make_folder(&stage_name, 0o700).with_context(what)?;
        Ok(Self { into, name: name.to_owned(), path: folder.join(name), stage, stage_name })
    }

    /// Returns the name that it gets.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns its destination.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder in which it is assembled.
    pub fn stage(&self) -> &Folder {
        &self.stage
    }

    /// Returns whether nothing came.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.stage.names()?.next().is_none())
    }

    /// Removes every folder that git would take for a repository, alone or together with what is at the
    /// destination already.
    pub fn leave_repositories(&self, left: &mut LeftOut) -> Result<()> {
        for name in names(&self.stage)? {
            if self.stage.meta(&name)?.kind == Kind::Folder {
                let there = self.into.folder(&name).ok();
                leave_one(&self.stage, &name, there.as_ref(), Path::new(&name), left)?;
            }
        }
        Ok(())
    }

    /// Moves it to its destination. The destination is examined first, so that all of it arrives or nothing
    /// does.
    pub fn land(&self) -> Outcome {
        for name in names(&self.stage)? {
            fits(&self.stage, &name, &self.into, Path::new(&name))?;
        }
        for name in names(&self.stage)? {
            let what = || Path::new(&name).display().to_string();
            land_one(&self.stage, &name, &self.into).with_context(what)?;
        }
        Ok(())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let _ = beneath::remove_all(&self.stage);
        let _ = self.into.remove_folder(&self.stage_name);
    }
}

/// Removes the leftovers of a copy that was killed.
fn remove_stale(into: &Folder) {
    let Ok(found) = into.names() else { return };
    let stale = |name: &OsString| {
        let pid = name.to_str()?.strip_prefix(STAGE)?.parse().ok().and_then(Pid::from_raw)?;
        (test_kill_process(pid) == Err(rustix::io::Errno::SRCH)).then_some(())
    };
    let stale: Vec<OsString> = found.flatten().filter(|name| stale(name).is_some()).collect();
    for name in stale {
        if let Ok(folder) = into.folder(&name) {
            let _ = beneath::remove_all(&folder);
            let _ = into.remove_folder(&name);
        }
    }
}

/// Returns the names in a folder, collected before anything is moved.
fn names(folder: &Folder) -> Result<Vec<OsString>> {
    Ok(folder.names()?.collect::<Result<_, _>>()?)
}

fn leave_one(
    above: &Folder,
    name: &OsStr,
    there: Option<&Folder>,
    path: &Path,
    left: &mut LeftOut,
) -> Result<()> {
    let folder = above.folder(name)?;
    let mut parts = Parts::default();
    let mine = names(&folder)?;
    for name in &mine {
        parts.note(name.as_bytes());
    }
    for name in there.map_or_else(|| Ok(Vec::new()), names)? {
        parts.note(name.as_bytes());
    }
    // Anything copied into a repository is configuration, a hook or an object.
    if parts.make_repository() {
        beneath::remove_all(&folder)?;
        above.remove_folder(name)?;
        left.add(path.to_owned(), "git would take it for a repository; --all copies it");
        return Ok(());
    }
    for name in mine {
        if folder.meta(&name)?.kind == Kind::Folder {
            let there = there.and_then(|there| there.folder(&name).ok());
            leave_one(&folder, &name, there.as_ref(), &path.join(&name), left)?;
        }
    }
    Ok(())
}

/// Checks that something fits at its destination: a folder where there is a folder or nothing, anything else
/// where there is no folder.
fn fits(from: &Folder, name: &OsStr, to: &Folder, path: &Path) -> Outcome {
    let there = match to.meta(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there.with_context(|| path.display().to_string())?.kind,
    };
    match (from.meta(name).with_context(|| path.display().to_string())?.kind, there) {
        (Kind::Folder, Kind::Folder) => {
            let what = || path.display().to_string();
            let (from, to) = (from.folder(name).with_context(what)?, to.folder(name).with_context(what)?);
            names(&from)?.iter().try_for_each(|name| fits(&from, name, &to, &path.join(name)))
        }
        (Kind::Folder, _) => Err(in_the_way(path, "is a folder in the guest, and none")),
        (_, Kind::Folder) => Err(in_the_way(path, "is no folder in the guest, and one")),
        // Whoever names /dev/null does not mean that it is to be a file from now on.
        (_, Kind::Special) => {
            Err(in_the_way(path, "is a file or a link in the guest, and a device, pipe or socket"))
        }
        _ => Ok(()),
    }
}

/// Says that something of another kind is where something should go.
fn in_the_way(path: &Path, what: &str) -> Failure {
    let path = Bytes(path.as_os_str().as_bytes());
    Failure::new(failure::Kind::Usage, format!("{path} {what} here; nothing was copied"))
        .help("move that away, or copy to another place")
}

fn land_one(from: &Folder, name: &OsStr, to: &Folder) -> Result<()> {
    let both = from.meta(name)?.kind == Kind::Folder && to.meta(name).is_ok();
    if !both {
        return Ok(from.rename(name, to, name)?);
    }
    let (from, to) = (from.folder(name)?, to.folder(name)?);
    names(&from)?.iter().try_for_each(|name| land_one(&from, name, &to))
}
