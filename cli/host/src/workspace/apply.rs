//! Applies changes to the project: exactly what was looked at, and nothing that appeared since.
//!
//! Every write goes through a descriptor of its folder, which was reached without following a link. Right
//! before a write the project's path is checked again: if it is no longer what was judged, the path stays as
//! it is.

use super::changes::{Change, Kept, What};
use super::copy::Copy;
use super::decide::Here;
use super::look::{self, Item, Look};
use super::snapshot::Snapshot;
use super::tree::Entry;
use crate::beneath::{Folder, MODE, moment, set_mode};
use anyhow::{Context, Result};
use bottle_core::visible::Bytes;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The result of applying changes.
#[derive(Debug, Default)]
pub struct Applied {
    /// The changes that the project has now.
    pub taken: Vec<Change>,
    /// The changes that stay in the guest, each with its reason.
    pub kept: Vec<Change>,
}

impl Copy {
    /// Applies what was looked at. With `overwrite` it also replaces paths that the project has changed. What
    /// was applied is recorded at the end, even if something fails. A crash in between loses nothing: what is
    /// the same on both sides is no change.
    ///
    /// # Errors
    /// Returns an error if the project cannot be written. What was applied before that stays.
    pub fn apply(&mut self, look: Look, overwrite: bool) -> Result<Applied> {
        let ours = self.ours()?;
        let Look { items, snapshot } = look;
        let may = |item: &Item| item.change.may_be_taken(overwrite);
        let (mut take, kept): (Vec<_>, Vec<_>) = items.into_iter().partition(may);
        let mut applied =
            Applied { taken: Vec::new(), kept: kept.into_iter().map(|item| item.change).collect() };
        // Deletions come first, and the deepest of them before the folders around them: a file may make room
        // for a folder.
        take.sort_by_key(|item| {
            let deleted = item.change.what == What::Deleted;
            let depth = item.change.path.components().count();
            (!deleted, if deleted { Reverse(depth) } else { Reverse(usize::MAX) })
        });
        let done = take.into_iter().try_for_each(|mut item| {
            let what = || Bytes(item.change.path.as_os_str().as_bytes()).to_string();
            if !is_as_judged(&ours, &item) {
                item.change.kept = Some(Kept::Conflict);
                applied.kept.push(item.change);
                return Ok(());
            }
            let path = &item.change.path;
            take_back(&snapshot, &ours, &item).with_context(what)?;
            match look::here(&ours, path) {
                Here::Is(entry) => self.record.manifest.paths.insert(path.clone(), entry),
                _ => self.record.manifest.paths.remove(path),
            };
            applied.taken.push(item.change);
            Ok(())
        });
        self.remember()?;
        done.map(|()| applied)
    }
}

/// Returns whether the project still has what it had when it was looked at.
fn is_as_judged(ours: &Folder, item: &Item) -> bool {
    let now = look::here(ours, &item.change.path);
    // Nothing was expected there because a folder takes the place of what is in the way.
    now == item.here || (item.here == Here::Nothing && now == Here::Blocked)
}

fn take_back(snapshot: &Snapshot, ours: &Folder, item: &Item) -> Result<()> {
    let path = &item.change.path;
    if item.change.what == What::Deleted {
        let (above, name) = ours.above(path)?;
        return Ok(clear(&above, name)?);
    }
    let name = path.file_name().context("it has no name")?;
    let above = make_above(ours, path.parent().unwrap_or(Path::new("")))?;
    match &item.after {
        Some(Entry::Folder) => {
            if above.folder(name).is_err() {
                clear(&above, name)?;
                give(&above.make_folder(name, 0o777)?, ours)?;
            }
            Ok(())
        }
        Some(Entry::Link(target)) => in_place(&above, name, |draft| {
            above.make_link(target, draft)?;
            if let Some((uid, gid)) = owner(ours)? {
                above.give_one(draft, uid, gid, |meta| meta.kind == crate::beneath::Kind::Link)?;
            }
            Ok(())
        }),
        Some(Entry::File { mode, changed, .. }) => {
            let content = item.content.as_ref().context("it was not read")?;
            in_place(&above, name, |draft| {
                let file = above.create(draft, 0o600)?;
                snapshot.put(content, &file)?;
                if let Some((uid, gid)) = owner(ours)? {
                    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
                }
                finish(&file, *mode, *changed)
            })
        }
        _ => anyhow::bail!("it cannot be applied"),
    }
}

/// Sets the permissions and the time of a written file.
fn finish(file: &File, mode: u32, changed: i128) -> Result<()> {
    set_mode(file, mode & MODE)?;
    if let Some(time) = moment(changed) {
        file.set_modified(time)?;
    }
    Ok(())
}

/// Returns the name of a path while it is put together, in its own folder. A guest cannot guess it and put a
/// folder there.
fn draft_name() -> OsString {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!(".bottle-apply.{}.{now}", std::process::id()).into()
}

/// Puts something together beside its final path: the old one goes only once the new one is complete.
fn in_place(above: &Folder, name: &OsStr, make: impl FnOnce(&OsStr) -> Result<()>) -> Result<()> {
    let draft = &*draft_name();
    let put = make(draft).and_then(|()| {
        if above.folder(name).is_ok() {
            above.remove_folder(name)?;
        }
        Ok(above.rename(draft, above, name)?)
    });
    if put.is_err() {
        let _ = above.remove_file(draft);
    }
    put
}

/// Opens the folder that something goes into, and makes whatever part of it is missing.
fn make_above(ours: &Folder, path: &Path) -> Result<Folder> {
    let mut folder = ours.try_clone()?;
    for name in path.components() {
        let name = name.as_os_str();
        folder = match folder.folder(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = folder.make_folder(name, 0o777)?;
                give(&made, ours)?;
                made
            }
            opened => opened?,
        };
    }
    Ok(folder)
}

/// Returns the project's owner if we are root: root works for whoever owns the project.
fn owner(ours: &Folder) -> io::Result<Option<(Uid, Gid)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = ours.own_meta()?;
    Ok(Some((Uid::from_raw(meta.uid), Gid::from_raw(meta.gid))))
}

fn give(folder: &Folder, ours: &Folder) -> io::Result<()> {
    owner(ours)?.map_or(Ok(()), |(uid, gid)| folder.give(uid, gid))
}

/// Removes what is there. A folder that is not empty stays, because its content was not part of the change.
fn clear(above: &Folder, name: &OsStr) -> io::Result<()> {
    let removed = match Entry::at(above, name) {
        Ok(Entry::Folder) => above.remove_folder(name),
        Ok(_) => above.remove_file(name),
        Err(error) => Err(error),
    };
    removed.or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        _ => Err(error),
    })
}
