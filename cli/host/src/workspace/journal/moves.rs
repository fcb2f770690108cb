//! A step, there and back: names are exchanged between the project and the stage.
//!
//! What is on disk tells whether a step was done.

use super::super::tree::Entry;
use super::file::{Step, What};
use super::prepare::owner;
use crate::beneath::Folder as Beneath;
use crate::fail_point::{self, FailPoint};
use anyhow::{Result, anyhow};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};

/// The name in the stage of what a step puts into the project.
pub(super) fn new(index: usize) -> OsString {
    format!("{index}.new").into()
}

/// The name in the stage of what a step takes out of the project.
pub(super) fn old(index: usize) -> OsString {
    format!("{index}.old").into()
}

/// Takes a step. `stage` is the folder in which it was prepared.
pub(super) fn forth(ours: &Beneath, stage: &Beneath, index: usize, step: &Step) -> Result<()> {
    let raced = || anyhow!("it changed while it was applied");
    let (above, name) = ours.above(&step.path)?;
    let (new, old) = (new(index), old(index));
    match &step.what {
        What::Remove(before) => {
            above.rename_new(name, stage, &old)?;
            if Entry::at(stage, &old)? != *before {
                return Err(raced());
            }
        }
        What::RemoveFolder { may_stay, .. } => match above.remove_folder(name) {
            Err(error) if *may_stay && is_full(&error) => {}
            removed => removed?,
        },
        What::Put { before: None, .. } => stage.rename_new(&new, &above, name)?,
        What::Put { before: Some(before), .. } => {
            if can_exchange() && stage.exchange(&new, &above, name)? {
                if Entry::at(stage, &new)? != *before {
                    return Err(raced());
                }
            } else {
                above.rename_new(name, stage, &old)?;
                fail_point::reached(FailPoint::ApplyHalf);
                if Entry::at(stage, &old)? != *before {
                    return Err(raced());
                }
                stage.rename_new(&new, &above, name)?;
            }
        }
    }
    Ok(())
}

/// Undoes a step, if it was done. `stage` is the folder in which it was prepared. Returns false if what is there now is somebody else's.
pub(super) fn back(ours: &Beneath, stage: &Beneath, index: usize, step: &Step) -> Result<bool> {
    let (new, old) = (new(index), old(index));
    let (above, name) = match ours.above(&step.path) {
        // If the path's folder never arrived, nothing can have happened to the path.
        Err(error) if is_no_folder(&error) => {
            return Ok(!has(stage, &old) && matches!(step.what, What::Put { before: None, .. }));
        }
        above => above?,
    };
    match &step.what {
        What::Remove(_) if !has(stage, &old) => Ok(true),
        What::Remove(_) => is_free(stage.rename_new(&old, &above, name)),
        What::RemoveFolder { mode, .. } => {
            if !has(&above, name) {
                // The folder is put back with its permissions and owner, or not at all.
                let made = match stage.make_folder(&old, 0o700) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => stage.folder(&old)?,
                    made => made?,
                };
                made.set_mode(*mode)?;
                if let Some((uid, gid)) = owner(ours)? {
                    made.give(uid, gid)?;
                }
                return is_free(stage.rename_new(&old, &above, name));
            }
            Ok(true)
        }
        What::Put { before: None, after, number } => {
            Ok(has(stage, &new) || take(&above, name, stage, &new, after, *number)?)
        }
        What::Put { before: Some(before), after, number } => {
            // Where each of the two is depends on how far the step got, and how far undoing it got.
            let is_new = |name: &OsStr| stage.meta(name).is_ok_and(|meta| meta.number == *number);
            let was = [&old, &new].into_iter().find(|name| has(stage, name) && !is_new(name));
            let is_new_here = is_new(&old) || is_new(&new);
            let Some(was) = was else {
                return Ok(is_new_here || Entry::at(&above, name).is_ok_and(|entry| entry == *before));
            };
            let free = if *was == old { &new } else { &old };
            let is_gone = is_new_here || take(&above, name, stage, free, after, *number)?;
            Ok(is_gone && is_free(stage.rename_new(was, &above, name))?)
        }
    }
}

fn can_exchange() -> bool {
    !(cfg!(debug_assertions)
        && std::env::var_os("BOTTLE_DIE_AFTER").is_some_and(|point| point == FailPoint::ApplyHalf.name()))
}

fn has(folder: &Beneath, name: &OsStr) -> bool {
    folder.meta(name).is_ok()
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT))
}

/// Returns whether a path's folder is missing: nothing is there, or a file, or a link.
pub(super) fn is_no_folder(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// Returns whether something could be moved to its name, or false if the name is taken.
fn is_free(moved: io::Result<()>) -> Result<bool> {
    match moved {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        moved => Ok(moved.map(|()| true)?),
    }
}

/// Takes something out of the project again, if it is what was put there. Returns false if it is not.
fn take(from: &Beneath, name: &OsStr, to: &Beneath, new: &OsStr, put: &Entry, number: u64) -> Result<bool> {
    let is_it = |folder: &Beneath, name: &OsStr| {
        Entry::at(folder, name).is_ok_and(|entry| entry == *put)
            && folder.meta(name).is_ok_and(|meta| meta.number == number)
    };
    if !has(from, name) {
        return Ok(true);
    }
    if !is_it(from, name) {
        return Ok(false);
    }
    if *put == Entry::Folder {
        // Whatever somebody else put into it stays.
        return match from.remove_folder(name) {
            Err(error) if is_full(&error) => Ok(false),
            removed => Ok(removed.map(|()| true)?),
        };
    }
    from.rename_new(name, to, new)?;
    if is_it(to, new) {
        return Ok(true);
    }
    to.rename_new(new, from, name)?;
    Ok(false)
}
