//! What `apply` replaced or removed, kept in the bottle's state folder for `undo`.
//!
//! An entry is the folder `undo/NUMBER`: `entry.json` lists the paths, and the file named after a path's
//! index in that list holds what the project had there. The last [`KEPT`] entries are kept.

use super::exact;
use super::snapshot;
use super::tree::Entry;
use crate::beneath::{Folder as Beneath, MODE, set_mode};
use crate::state::{Folder, parse_json, private_dir, remove_dir, write_private};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

/// How many entries are kept.
pub const KEPT: usize = 3;

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Was {
    /// The path.
    #[serde(with = "exact")]
    pub path: PathBuf,
    /// What the project had there.
    pub before: Option<Entry>,
    /// What it has had there since.
    pub after: Option<Entry>,
    /// What the copy's record said about it.
    pub recorded: Option<Entry>,
}

/// What one `apply` changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backup {
    /// The project.
    #[serde(with = "exact")]
    pub project: PathBuf,
    /// When it was applied.
    pub when: SystemTime,
    /// The paths.
    pub paths: Vec<Was>,
}

fn root(folder: &Folder) -> PathBuf {
    folder.state().join("undo")
}

fn place(folder: &Folder, number: u64) -> PathBuf {
    root(folder).join(number.to_string())
}

fn draft(folder: &Folder, number: u64) -> PathBuf {
    root(folder).join(format!("{number}.draft"))
}

/// Returns the numbers of the entries, oldest first.
pub(super) fn numbers(folder: &Folder) -> Result<Vec<u64>> {
    let names = match fs::read_dir(root(folder)) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| root(folder).display().to_string()),
    };
    let mut numbers = Vec::new();
    for name in names {
        numbers.extend(name?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads an entry.
pub(super) fn read(folder: &Folder, number: u64) -> Result<Backup> {
    let path = place(folder, number).join("entry.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse_json(&path, &text)
}

/// Writes what the project had at a path into an empty file.
pub(super) fn restore(folder: &Folder, number: u64, index: usize, to: &File) -> Result<()> {
    let path = place(folder, number).join(index.to_string());
    let what = || path.display().to_string();
    let from = File::open(&path).with_context(what)?;
    let len = from.metadata().with_context(what)?.len();
    snapshot::copy_with_holes(&from, len, to).with_context(what)
}

/// Gives a restored file the bits that an [`Entry`] leaves out. They are a person's own: no guest's file has them.
pub(super) fn restore_bits(folder: &Folder, number: u64, index: usize, to: &File) -> Result<()> {
    let more = bits(&File::open(place(folder, number).join(index.to_string()))?)?;
    if more != 0 {
        set_mode(to, to.metadata()?.mode() & MODE | more)?;
    }
    Ok(())
}

/// Returns whether a program gets somebody else's rights, and the like.
fn bits(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.mode() & 0o7000)
}

/// Saves what the project has at these paths as a draft, which counts once it is committed.
pub(super) fn keep(folder: &Folder, number: u64, ours: &Beneath, backup: &Backup) -> Result<()> {
    let draft = draft(folder, number);
    remove_dir(&draft)?;
    private_dir(&draft)?;
    for (index, was) in backup.paths.iter().enumerate() {
        if let Some(Entry::File { .. }) = &was.before {
            let keep = || -> Result<()> {
                let (above, name) = ours.above(&was.path)?;
                let (from, meta) = above.file(name)?;
                ensure!(Some(Entry::file(&meta)) == was.before, "it changed while it was applied");
                let place = draft.join(index.to_string());
                let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
                snapshot::copy_with_holes(&from, meta.len, &to)?;
                Ok(set_mode(&to, 0o600 | bits(&from)?)?)
            };
            keep().with_context(|| format!("cannot keep a copy of {}", was.path.display()))?;
        }
    }
    write_private(&draft.join("entry.json"), serde_json::to_string(backup)?.as_bytes())
}

/// Turns a draft into an entry, and removes surplus entries.
pub(super) fn commit(folder: &Folder, number: u64) -> Result<()> {
    let (draft, place) = (draft(folder, number), place(folder, number));
    if draft.exists() {
        fs::rename(&draft, &place).with_context(|| place.display().to_string())?;
    }
    let numbers = numbers(folder)?;
    let extra = numbers.len().saturating_sub(KEPT);
    numbers[..extra].iter().try_for_each(|old| remove(folder, *old))
}

/// Removes an entry.
pub(super) fn remove(folder: &Folder, number: u64) -> Result<()> {
    remove_dir(&place(folder, number))
}

/// Removes a draft.
pub(super) fn forget(folder: &Folder, number: u64) -> Result<()> {
    remove_dir(&draft(folder, number))
}

/// Returns where an entry or its draft is, to show to a person.
pub(super) fn shown(folder: &Folder, number: u64) -> PathBuf {
    let place = place(folder, number);
    if place.exists() { place } else { draft(folder, number) }
}

/// Returns the number of the next entry.
pub(super) fn next(folder: &Folder) -> Result<u64> {
    let mut number = numbers(folder)?.last().map_or(1, |last| last + 1);
    // A draft that was left behind is the only copy of something.
    while draft(folder, number).exists() {
        number += 1;
    }
    Ok(number)
}
