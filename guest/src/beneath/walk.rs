//! A tree, listed with a few descriptors, and up to a limit.

use super::folder::Folder;
use super::meta::{Kind, Meta};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// How much of a tree is listed before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most entries.
    pub entries: u64,
    /// The most bytes in all of their paths together.
    pub names: u64,
    /// The longest path of a folder that is looked into, in bytes.
    pub path: usize,
    /// The most names in the path of a folder that is looked into.
    pub depth: usize,
}

impl Default for Limits {
    /// Ten times what the largest projects have; a path as long as system calls take one, with room
    /// for one more name; and more levels than anything has that people work with.
    fn default() -> Self {
        Self { entries: 500_000, names: 128 << 20, path: 4096 - 257, depth: 255 }
    }
}

impl Limits {
    /// No limit but what the system has by itself.
    pub const NONE: Self = Self { entries: u64::MAX, names: u64::MAX, path: usize::MAX, depth: usize::MAX };
}

/// Something that was come to.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The folder that it is in.
    pub folder: &'a Folder,
    /// Its name in there.
    pub name: &'a OsStr,
    /// Its path, from where the walk began.
    pub path: &'a Path,
    /// What it is.
    pub meta: Meta,
    /// Whether it is a folder that is too deep to be looked into.
    pub is_too_deep: bool,
}

/// Shows everything below a folder, a folder before what is in it, and goes into those for which it
/// is told so. What goes away meanwhile is left out. Holds three descriptors at a time.
///
/// # Errors
/// Where something cannot be read, there is more than the limits allow, or `visit` says so.
pub fn walk(root: &Folder, limits: &Limits, mut visit: impl FnMut(&Seen) -> Result<bool>) -> Result<()> {
    let (mut entries, mut names) = (0_u64, 0_u64);
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((above, depth)) = folders.pop() {
        let what = || above.display().to_string();
        let Some(folder) = there(root.folder_at(&above)).with_context(what)? else { continue };
        for name in folder.names().with_context(what)? {
            let name = name.with_context(what)?;
            let path = above.join(&name);
            entries += 1;
            names = names.saturating_add(path.as_os_str().len() as u64);
            if entries > limits.entries || names > limits.names {
                bail!(
                    "it holds more than {} paths, or longer ones than can be kept in memory",
                    limits.entries
                );
            }
            let Some(meta) = there(folder.meta(&name)).with_context(|| path.display().to_string())? else {
                continue;
            };
            let is_long = path.as_os_str().len() > limits.path || depth >= limits.depth;
            let is_too_deep = meta.kind == Kind::Folder && is_long;
            let seen = Seen { folder: &folder, name: &name, path: &path, meta, is_too_deep };
            if visit(&seen)? && meta.kind == Kind::Folder && !is_too_deep {
                folders.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

/// What was there a moment ago may be gone, or something else.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}
