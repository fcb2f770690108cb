//! A file's extended attributes: what a person's programs noted about it. They belong to the project, and
//! stay with a file when `apply` replaces its content. A guest's attributes are only counted.

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// The longest list of names, and the longest value, that Linux supports, in bytes.
const LONGEST: usize = 1 << 16;

/// Gives a new file the attributes of the file that it replaces.
///
/// # Errors
/// Returns an error if the new file cannot have them.
pub fn keep(from: &File, to: &File) -> io::Result<()> {
    for name in names(from)?.split(|byte| *byte == 0).filter(|name| is_users(name)) {
        let mut value = vec![0; LONGEST];
        let len = fgetxattr(from, name, value.as_mut_slice())?;
        fsetxattr(to, name, &value[..len], XattrFlags::empty())?;
    }
    Ok(())
}

/// Returns whether a file has any.
///
/// # Errors
/// Returns an error if they cannot be listed.
pub fn has(file: &File) -> io::Result<bool> {
    Ok(names(file)?.split(|byte| *byte == 0).any(is_users))
}

/// Returns the names of a file's attributes, each with a zero byte after it.
fn names(file: &File) -> io::Result<Vec<u8>> {
    let mut names = vec![0; LONGEST];
    let len = match flistxattr(file, names.as_mut_slice()) {
        // This file system has no attributes.
        Err(Errno::NOTSUP) => 0,
        len => len?,
    };
    names.truncate(len);
    Ok(names)
}

/// The other kinds are the system's: labels, capabilities, access lists.
fn is_users(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}
