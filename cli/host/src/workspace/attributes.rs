//! A file's extended attributes: what a person's programs noted about it. They belong to the project, and
//! stay with a file when `apply` replaces its content. A guest's attributes are not taken over.

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
    let mut names = vec![0; LONGEST];
    let len = match flistxattr(from, names.as_mut_slice()) {
        // This file system has no attributes.
        Err(Errno::NOTSUP) => return Ok(()),
        len => len?,
    };
    for name in names[..len].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = vec![0; LONGEST];
        let len = fgetxattr(from, name, value.as_mut_slice())?;
        fsetxattr(to, name, &value[..len], XattrFlags::empty())?;
    }
    Ok(())
}
