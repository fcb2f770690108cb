//! What comes out of a guest, put together beside its destination and moved there once it is whole.

use super::entered::entered;
use anyhow::{Context, Result, bail};
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

/// What the folders are called in which something is put together, before a process's number.
const STAGE: &str = ".bottle-cp.";

/// A place that a person's words determine, and what is being put together for it.
pub struct Arrival {
    /// The folder that it goes into.
    into: Folder,
    /// The name that it gets there.
    name: OsString,
    /// Both, as a path.
    path: PathBuf,
    stage: Folder,
    stage_name: OsString,
}

impl Arrival {
    /// For a path of the guest's that goes to one of this machine: into it where that is a folder,
    /// under the path's own last name, else as that.
    pub fn at(from: &OsStr, to: &Path) -> Outcome<Self> {
        let unnamed = || {
            Failure::new(failure::Kind::Usage, format!("{} ends in no name", Bytes(from.as_bytes())))
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

    /// The name that it gets.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder in which it is put together.
    pub fn stage(&self) -> &Folder {
        &self.stage
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.stage.names()?.next().is_none())
    }

    /// Takes out every folder that git would take for a repository by what is in it, or by what
    /// would then be in it together with what is there already.
    pub fn leave_repositories(&self, left: &mut LeftOut) -> Result<()> {
        for name in names(&self.stage)? {
            if self.stage.meta(&name)?.kind == Kind::Folder {
                let there = self.into.folder(&name).ok();
                leave_one(&self.stage, &name, there.as_ref(), Path::new(&name), left)?;
            }
        }
        Ok(())
    }

    /// Moves it to its place. What is there is looked at first, so that it comes whole or not at all.
    pub fn land(&self) -> Result<()> {
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

/// Removes what a copy left that was killed.
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

/// Names are taken together before anything is moved.
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
    // Whatever comes into a repository is its configuration, its hooks or its objects.
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

/// Whether something finds its place as it should: a folder where there is one or nothing,
/// everything else where there is no folder.
fn fits(from: &Folder, name: &OsStr, to: &Folder, path: &Path) -> Result<()> {
    let there = match to.meta(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there.with_context(|| path.display().to_string())?.kind,
    };
    match (from.meta(name)?.kind, there) {
        (Kind::Folder, Kind::Folder) => {
            let (from, to) = (from.folder(name)?, to.folder(name)?);
            names(&from)?.iter().try_for_each(|name| fits(&from, name, &to, &path.join(name)))
        }
        (Kind::Folder, _) => bail!("{} is no folder here", PathBuf::from(path).display()),
        (_, Kind::Folder) => bail!("{} is a folder here", path.display()),
        _ => Ok(()),
    }
}

fn land_one(from: &Folder, name: &OsStr, to: &Folder) -> Result<()> {
    let both = from.meta(name)?.kind == Kind::Folder && to.meta(name).is_ok();
    if !both {
        return Ok(from.rename(name, to, name)?);
    }
    let (from, to) = (from.folder(name)?, to.folder(name)?);
    names(&from)?.iter().try_for_each(|name| land_one(&from, name, &to))
}
