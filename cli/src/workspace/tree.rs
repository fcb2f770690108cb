//! A folder's content: copied, listed, given away. Nothing here follows a link.

use anyhow::{Context, Result};
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use cap_std::fs::{Permissions, PermissionsExt};
use rustix::fs::{AtFlags, Gid, OFlags, Uid, chownat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Permission bits that travel: none that give a program somebody else's rights.
const MODE: u32 = 0o777;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Its permission bits.
        mode: u32,
        /// Its length, in bytes.
        len: u64,
        /// When it was changed, in nanoseconds since 1970.
        changed: i128,
    },
    /// A symbolic link, and where it points.
    Link(PathBuf),
    /// A device, a socket, a pipe: of no use to anybody else.
    Special,
}

/// Every path of a folder that is UTF-8. One that is not is copied, and cannot be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest(pub BTreeMap<PathBuf, Entry>);

impl Entry {
    /// What is at a path.
    pub fn at(dir: &Dir, path: &Path) -> io::Result<Self> {
        let meta = dir.symlink_metadata(path)?;
        let kind = meta.file_type();
        Ok(if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            // Where a link points is only read, and may be anywhere.
            Self::Link(dir.read_link_contents(path)?)
        } else if kind.is_file() {
            Self::File { mode: meta.mode() & MODE, len: meta.len(), changed: changed(&meta) }
        } else {
            Self::Special
        })
    }
}

fn changed(meta: &Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

impl Manifest {
    /// Lists a folder. What goes away meanwhile is left out.
    pub fn of(dir: &Dir) -> Result<Self> {
        let mut found = BTreeMap::new();
        walk(dir, |path| match Entry::at(dir, path) {
            Ok(entry) => {
                let below = entry == Entry::Folder;
                if path.to_str().is_some() {
                    found.insert(path.to_owned(), entry);
                }
                Ok(below)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        })?;
        Ok(Self(found))
    }
}

/// Shows every path, a folder before what is in it, and goes into those for which it is told so.
fn walk(dir: &Dir, mut visit: impl FnMut(&Path) -> Result<bool>) -> Result<()> {
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        let entries = match dir.read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        };
        for entry in entries {
            let name = entry?.file_name();
            let path = if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) };
            if visit(&path)? {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Copies a folder's content into an empty one, and lists what was copied.
pub fn copy(from: &Dir, to: &Dir) -> Result<Manifest> {
    let mut copied = BTreeMap::new();
    walk(from, |path| {
        let entry = Entry::at(from, path)?;
        if entry == Entry::Special {
            return Ok(false);
        }
        put(from, path, to, path, &entry).with_context(|| path.display().to_string())?;
        let below = entry == Entry::Folder;
        if path.to_str().is_some() {
            copied.insert(path.to_owned(), entry);
        }
        Ok(below)
    })?;
    Ok(Manifest(copied))
}

/// Copies one path to another, whose folder is there and which is not.
pub fn put(from: &Dir, path: &Path, to: &Dir, place: &Path, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Folder => {
            let mode = from.symlink_metadata(path)?.mode() & MODE;
            to.create_dir_with(place, DirBuilder::new().mode(mode | 0o700))?;
        }
        Entry::Link(target) => to.symlink_contents(target, place)?,
        Entry::File { mode, changed, .. } => {
            let mut source = open(from, path)?.into_std();
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(mode & MODE);
            let made = to.open_with(place, &options)?;
            // What the umask took away.
            made.set_permissions(Permissions::from_mode(mode & MODE))?;
            let mut made = made.into_std();
            io::copy(&mut source, &mut made)?;
            if let Some(time) = moment(*changed) {
                made.set_modified(time)?;
            }
        }
        Entry::Special => {}
    }
    Ok(())
}

/// Opens a file, and never a pipe that nobody writes to.
pub fn open(dir: &Dir, path: &Path) -> io::Result<cap_std::fs::File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    dir.open_with(path, OpenOptions::new().read(true).custom_flags(flags))
}

fn moment(nanoseconds: i128) -> Option<SystemTime> {
    let since = u64::try_from(nanoseconds).ok().map(Duration::from_nanos)?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Gives everything in a folder, and at last the folder itself, to a user.
pub fn give_all(dir: &Dir, uid: Uid, gid: Gid) -> Result<()> {
    walk(dir, |path| {
        give(dir, path, uid, gid).with_context(|| path.display().to_string())?;
        Ok(dir.symlink_metadata(path)?.is_dir())
    })?;
    Ok(give(dir, Path::new("."), uid, gid)?)
}

/// Gives one path to a user.
pub fn give(dir: &Dir, path: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    Ok(chownat(dir, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}
