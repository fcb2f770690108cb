//! The older files of a log: their names and their order.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Returns the path of an older file, like `audit.000001.jsonl`. Numbers start at 1 and are never reused.
pub fn aside(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("{number:06}.jsonl"))
}

/// Returns the older files of a log, in the order in which they were written.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn segments(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found: Vec<(u32, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((number(path, &entry.path())?, entry.path()))).collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Returns the number of an older file of the log at `path`.
pub fn number(path: &Path, older: &Path) -> Option<u32> {
    let name = older.file_name()?.to_str()?;
    let stem = path.file_stem()?.to_str()?;
    name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".jsonl")?.parse().ok()
}
