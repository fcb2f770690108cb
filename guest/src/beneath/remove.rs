//! A tree, removed with two descriptors, however deep it is.
//!
//! The standard library's way holds a descriptor for each level, and a tree of ten thousand takes
//! more than a process may have: it would stay forever. Here a folder that is not empty is moved up,
//! beside its ancestors, and emptied in its turn.

use super::folder::Folder;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;

/// Rounds over the root: more than any path has levels, and an end where somebody fills it meanwhile.
const ROUNDS: u32 = 200_000;

/// Removes everything in a folder, and no link's target.
///
/// # Errors
/// Where something cannot be removed.
pub fn remove_all(root: &Folder) -> io::Result<()> {
    let mut moved = 0_u64;
    // What is moved up while the names are read may be among them or not: until there are none.
    for _ in 0..ROUNDS {
        let mut is_empty = true;
        for name in root.names()? {
            is_empty = false;
            let name = name?;
            match remove_one(root, &name) {
                Err(error) if is_full(&error) => {
                    empty(root, &name, &mut moved)?;
                    match gone(root.remove_folder(&name)) {
                        // Somebody put something into it: the next round sees to that.
                        Err(error) if is_full(&error) => {}
                        removed => removed?,
                    }
                }
                other => gone(other)?,
            }
        }
        if is_empty {
            return Ok(());
        }
    }
    Err(io::Error::other("it is filled while it is removed"))
}

/// Empties a folder: what is in it goes, or moves up into the root.
fn empty(root: &Folder, name: &OsStr, moved: &mut u64) -> io::Result<()> {
    let folder = match root.folder(name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Its maker took away the right to look into it.
            root.open_up(name)?;
            root.folder(name)?
        }
        opened => opened?,
    };
    for child in folder.names()? {
        let child = child?;
        match remove_one(&folder, &child) {
            Err(error) if is_full(&error) => move_up(&folder, &child, root, moved)?,
            other => gone(other)?,
        }
    }
    Ok(())
}

fn move_up(folder: &Folder, child: &OsStr, root: &Folder, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let name = OsString::from(format!(".bottle-gone-{moved}"));
        match folder.rename(child, root, &name) {
            // Something has that name. An empty folder would simply have been replaced.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::NOTDIR | Errno::EXIST | Errno::NOTEMPTY)
                ) => {}
            renamed => return renamed,
        }
    }
}

fn remove_one(folder: &Folder, name: &OsStr) -> io::Result<()> {
    match folder.remove_file(name) {
        // Linux says the one of a folder, POSIX the other.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::ISDIR | Errno::PERM)) => {
            folder.remove_folder(name)
        }
        removed => removed,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
