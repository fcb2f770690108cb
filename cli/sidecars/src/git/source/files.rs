//! Reads the repository's files. No link is followed.

use anyhow::{Context, Result, ensure};
use bottle_host::beneath::{self, Folder, Kind};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The longest file that holds one ref, in bytes.
pub const MAX_REF: u64 = 4096;

/// Returns the text of a file, if it exists and is a regular file. No link is followed.
pub fn text(dir: &Folder, name: &str, most: u64) -> Result<Option<String>> {
    let Some((file, _)) = regular(dir, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "{name} is longer than {most} bytes");
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a regular file, and returns it with its length. It neither waits for a pipe nor opens a device.
pub fn regular(dir: &Folder, name: &str) -> Result<Option<(File, u64)>> {
    let name = OsStr::new(name);
    if !dir.meta(name).is_ok_and(|meta| meta.kind == Kind::File) {
        return Ok(None);
    }
    match dir.file(name) {
        Ok((file, meta)) => Ok(Some((file, meta.len))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| name.to_string_lossy().into_owned()),
    }
}

pub fn has(dir: &Folder, name: &str) -> bool {
    dir.meta(OsStr::new(name)).is_ok()
}

/// Opens a folder by a path that contains no links.
pub fn plain(path: &Path) -> Result<Folder> {
    let below =
        path.strip_prefix("/").with_context(|| format!("{} is not an absolute path", path.display()))?;
    beneath::open(Path::new("/"))?
        .folder_at(below)
        .with_context(|| format!("{} is not there, or leads elsewhere", path.display()))
}
