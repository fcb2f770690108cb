//! Lists a tree with a few descriptors, up to a limit.

use super::folder::Folder;
use super::meta::{Kind, Meta};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// How much of a tree is listed before the walk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries.
    pub entries: u64,
    /// How many bytes in all of their paths together.
    pub names: u64,
    /// The longest path of a folder that the walk enters, in bytes.
    pub path: usize,
    /// How many names in the path of a folder that the walk enters.
    pub depth: usize,
}

impl Default for Limits {
    /// Allows ten times as much as the largest projects have, paths as long as system calls accept with room
    /// for one more name, and more levels than anything that people work with.
    fn default() -> Self {
        Self { entries: 500_000, names: 128 << 20, path: 4096 - 257, depth: 255 }
    }
}

impl Limits {
    /// No limits except the system's.
    pub const NONE: Self = Self { entries: u64::MAX, names: u64::MAX, path: usize::MAX, depth: usize::MAX };
}

/// Something that the walk found.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Its parent folder.
    pub folder: &'a Folder,
    /// Its name in that folder.
    pub name: &'a OsStr,
    /// Its path, relative to the start of the walk.
    pub path: &'a Path,
    /// Its metadata.
    pub meta: Meta,
    /// Whether it is a folder that is too deep to enter.
    pub is_too_deep: bool,
}

/// Calls `visit` for everything below a folder, and for a folder before its contents. The walk enters those
/// folders for which `visit` returns true. It omits what disappears meanwhile, and uses three descriptors at
/// a time.
///
/// # Errors
/// Returns an error if something cannot be read, if there is more than the limits allow, or if `visit`
/// returns one.
pub fn walk(root: &Folder, limits: &Limits, visit: impl FnMut(&Seen) -> Result<bool>) -> Result<()> {
    walk_on(root, limits, visit, |_| Ok(false))
}

/// Walks like [`walk`], and calls `go_on` for each path that this user may not read. If it returns true, the
/// path is omitted.
///
/// # Errors
/// Returns an error as for [`walk`].
pub fn walk_on(
    root: &Folder,
    limits: &Limits,
    mut visit: impl FnMut(&Seen) -> Result<bool>,
    mut go_on: impl FnMut(&Path) -> Result<bool>,
) -> Result<()> {
    let (mut entries, mut names) = (0_u64, 0_u64);
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((above, depth)) = folders.pop() {
        let what = || above.display().to_string();
        let opened = there(root.folder_at(&above))
            .and_then(|folder| folder.map(|folder| Ok((folder.names()?, folder))).transpose());
        let (names_in, folder) = match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && go_on(&above)? => continue,
            opened => match opened.with_context(what)? {
                Some(opened) => opened,
                None => continue,
            },
        };
        for name in names_in {
            let name = name.with_context(what)?;
            let path = above.join(&name);
            entries += 1;
            names = names.saturating_add(path.as_os_str().len() as u64);
            if entries > limits.entries || names > limits.names {
                bail!(
                    "there are more than {} paths, or their names are too long to keep in memory",
                    limits.entries
                );
            }
            let meta = match there(folder.meta(&name)) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && go_on(&path)? => continue,
                meta => meta.with_context(|| path.display().to_string())?,
            };
            let Some(meta) = meta else { continue };
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

/// Returns `None` for something that was there a moment ago, and is now gone or something else.
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
