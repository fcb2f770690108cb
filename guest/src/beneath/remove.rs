//! Removes a tree with two descriptors, however deep it is.
//!
//! The standard library keeps a descriptor open per level. For a tree of ten thousand levels a process may
//! not have enough of them, and the tree could never be removed. Here a folder that is not empty is moved up
//! to the root, next to its ancestors, and emptied in turn.

use super::folder::Folder;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;

/// How many times the root is gone over. That is more than any path has levels, and ends the work if somebody
/// keeps filling the folder.
const ROUNDS: u32 = 200_000;

/// Removes everything in a folder, but not the targets of links in it.
///
/// # Errors
/// Returns an error if something cannot be removed.
pub fn remove_all(root: &Folder) -> io::Result<()> {
    let mut moved = 0_u64;
    // Folders that move up while the names are read may or may not be among them, so this goes on until there
    // are no names left.
    for _ in 0..ROUNDS {
        let mut is_empty = true;
        for name in root.names()? {
            is_empty = false;
            let name = name?;
            match remove_one(root, &name) {
                Err(error) if is_full(&error) => {
                    empty(root, &name, &mut moved)?;
                    match unless_missing(root.remove_folder(&name)) {
                        // Somebody put something into it. The next round removes that.
                        Err(error) if is_full(&error) => {}
                        removed => removed?,
                    }
                }
                other => unless_missing(other)?,
            }
        }
        if is_empty {
            return Ok(());
        }
    }
    Err(io::Error::other("somebody keeps filling it while it is removed"))
}

/// Empties a folder. Its contents are removed, or moved up into the root.
fn empty(root: &Folder, name: &OsStr, moved: &mut u64) -> io::Result<()> {
    let folder = match root.folder(name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Whoever created it removed the permission to read it.
            root.open_up(name)?;
            root.folder(name)?
        }
        opened => opened?,
    };
    for child in folder.names()? {
        let child = child?;
        match remove_one(&folder, &child) {
            Err(error) if is_full(&error) => move_up(&folder, &child, root, moved)?,
            other => unless_missing(other)?,
        }
    }
    Ok(())
}

fn move_up(folder: &Folder, child: &OsStr, root: &Folder, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let name = OsString::from(format!(".bottle-gone-{moved}"));
        match folder.rename(child, root, &name) {
            // The name is taken. (An empty folder would have been replaced.)
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
        // For a folder, Linux returns the first of these errors and POSIX the second.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::ISDIR | Errno::PERM)) => {
            folder.remove_folder(name)
        }
        removed => removed,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST))
}

fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
