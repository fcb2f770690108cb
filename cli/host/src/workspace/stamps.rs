//! Which files of a copy are known to have the content that was copied.
//!
//! Length, permissions and time do not show it. A guest can set a file's time to any moment, and files that were
//! unpacked or built together often have the same length and the same time: one that takes another's place looks as if
//! nothing had happened. So each file's number, and the moment of the last change to it that the system noted, are kept
//! beside the copy's record, for the guest's file and for the project's. Where the guest's differs, the contents are
//! compared. A stamp that is lost only costs a comparison.
//!
//! The file has 16 bytes that identify the record, and then 32 for each file in it, in the record's order: a look at a
//! large project reads it each time.

use super::tree::{Entry, Manifest};
use crate::beneath::Meta;
use crate::state::{Folder, remove_file, write_private};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One state of one file: its number, and when the system last noted a change to it. No program can set that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    number: u64,
    noted: i64,
}

impl Stamp {
    const LEN: usize = 16;

    /// Returns the stamp of a file with this metadata.
    pub fn of(meta: &Meta) -> Self {
        Self { number: meta.number, noted: i64::try_from(meta.noted).unwrap_or_default() }
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.number.to_le_bytes().into_iter().chain(self.noted.to_le_bytes())
    }

    fn read(bytes: &[u8; Self::LEN]) -> Self {
        let [number, noted] = [0, 8].map(|at| std::array::from_fn(|index| bytes[at + index]));
        Self { number: u64::from_le_bytes(number), noted: i64::from_le_bytes(noted) }
    }
}

/// A file of the copy and the project's file, when they had the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Same {
    /// The guest's file.
    pub theirs: Stamp,
    /// The project's file.
    pub ours: Stamp,
}

/// The stamps of a copy's files. They count for one state of the copy's record.
#[derive(Debug, Default)]
pub struct Stamps {
    record: Option<Stamp>,
    files: HashMap<PathBuf, Same>,
}

impl Stamps {
    /// Reads the stamps that count for a bottle's copy. There are none if the record has changed since.
    pub fn read(folder: &Folder, manifest: &Manifest) -> Self {
        let record = record(folder).ok();
        let bytes = fs::read(folder.copy_stamps()).unwrap_or_default();
        let (stamps, rest) = bytes.as_chunks::<{ Stamp::LEN }>();
        let mut stamps = stamps.iter().map(Stamp::read);
        if stamps.next() != record || !rest.is_empty() || stamps.len() != 2 * files(manifest).count() {
            return Self { record, files: HashMap::new() };
        }
        let same = || Some(Same { theirs: stamps.next()?, ours: stamps.next()? });
        let known =
            files(manifest).zip(std::iter::from_fn(same)).filter(|(_, same)| *same != Same::default());
        Self { record, files: known.map(|(path, same)| (path.clone(), same)).collect() }
    }

    /// Writes the stamps, for the state of the record in which they were read.
    ///
    /// # Errors
    /// Returns an error if there is no space.
    pub fn write(&self, folder: &Folder, manifest: &Manifest) -> Result<()> {
        let record = self.record.context("there is no record")?;
        let same = files(manifest).map(|path| self.of(path).unwrap_or_default());
        let stamps = std::iter::once(record).chain(same.flat_map(|same| [same.theirs, same.ours]));
        let bytes: Vec<u8> = stamps.flat_map(Stamp::bytes).collect();
        write_private(&folder.copy_stamps(), &bytes)
    }

    /// Writes the stamps for the record as it is now, with the project's files that it says something new about. Whether
    /// the guest's are the same is not known.
    pub fn follow<'p>(
        mut self,
        folder: &Folder,
        manifest: &Manifest,
        changed: impl Iterator<Item = (&'p Path, Option<Stamp>)>,
    ) {
        for (path, ours) in changed {
            match ours {
                Some(ours) => self.note(path.to_owned(), Same { theirs: Stamp::default(), ours }),
                None => _ = self.files.remove(path),
            }
        }
        self.record = record(folder).ok();
        if self.write(folder, manifest).is_err() {
            let _ = remove_file(&folder.copy_stamps());
        }
    }

    /// Returns the two files in the state in which they had the same content.
    pub fn of(&self, path: &Path) -> Option<Same> {
        self.files.get(path).copied()
    }

    /// Notes that the two files have the same content, which is what was copied.
    pub fn note(&mut self, path: PathBuf, same: Same) {
        self.files.insert(path, same);
    }

    /// Notes what others noted.
    pub fn extend(&mut self, more: Self) {
        self.files.extend(more.files);
    }
}

fn files(manifest: &Manifest) -> impl Iterator<Item = &PathBuf> {
    manifest.paths.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).map(|(path, _)| path)
}

/// Identifies the state of a copy's record. It is never changed in place.
fn record(folder: &Folder) -> Result<Stamp> {
    let meta = fs::metadata(folder.copy_record())?;
    Ok(Stamp { number: meta.ino(), noted: meta.mtime() * 1_000_000_000 + meta.mtime_nsec() })
}
