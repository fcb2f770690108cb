//! Files that are written whole or not at all, and folders.

use crate::beneath;
use crate::defence::Defence;
use anyhow::{Context, Error, Result, anyhow};
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Creates a folder that only its owner can enter.
pub fn private_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| path.display().to_string())
}

/// Creates a folder, and those above it that are missing. Others may pass through what it makes but not list it, whatever
/// this process's umask is: a virtual machine's process, which may be another user's, has to reach what is inside.
///
/// # Errors
/// Returns an error if one cannot be made.
pub fn passable_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        passable_dir(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o711))),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, 0o600)
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let draft = path.with_extension("draft");
    let write = || -> Result<()> {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(fs::rename(&draft, path)?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Parses a file that bottle wrote as JSON.
///
/// # Errors
/// Returns an error if another version of bottle wrote the file, or if it is damaged.
pub fn parse_json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| unreadable(&format!("{}:{}:{}", path.display(), error.line(), error.column())))
}

/// Returns the error about a file that bottle wrote, and that this version does not understand.
pub fn other_version(path: &Path) -> Error {
    unreadable(&path.display().to_string())
}

fn unreadable(place: &str) -> Error {
    anyhow!(
        "{place}: this version of bottle cannot read the file: it is damaged, or another version wrote it"
    )
}

/// Reads a text file of at most `most` bytes. A pipe or a device in its place is refused, and does not hold anybody up.
///
/// # Errors
/// Returns an error if it cannot be read, or is something else.
pub fn read_short(path: &Path, most: u64) -> io::Result<String> {
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > most {
        return Err(io::Error::other(format!("it is not a file of at most {} MiB", most >> 20)));
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Removes a file, if it exists.
pub fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

/// Removes a folder, if it exists. A process that is ending may still write a last file into it, so it is tried again.
pub fn remove_dir(path: &Path) -> Result<()> {
    const TRIES: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => thread::sleep(PAUSE),
            removed => return gone(removed, path),
        }
    }
    gone(fs::remove_dir_all(path), path)
}

/// Treats a path that does not exist as removed.
fn gone(removed: io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with everything in it, if it exists.
///
/// # Errors
/// Returns an error if part of it cannot be removed.
pub fn remove_tree(path: &Path) -> Result<()> {
    let what = || format!("cannot remove {}", path.display());
    if !Defence::TreeLimits.stands() {
        return remove_dir(path);
    }
    match beneath::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => beneath::remove_all(&opened.with_context(what)?).with_context(what)?,
    }
    fs::remove_dir(path).with_context(what)
}
