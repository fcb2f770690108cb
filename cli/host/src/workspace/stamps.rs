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

use super::tree::Manifest;
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
    /// Those that were read, of each file in the record, in its order; none if there are none that count.
    read: Vec<Same>,
    /// Those that are newer.
    noted: HashMap<PathBuf, Same>,
}

impl Stamps {
    /// Reads the stamps that count for a bottle's copy. There are none if the record has changed since.
    pub fn read(folder: &Folder, manifest: &Manifest) -> Self {
        let record = record(folder).ok();
        let bytes = fs::read(folder.copy_stamps()).unwrap_or_default();
        let (stamps, rest) = bytes.as_chunks::<{ Stamp::LEN }>();
        let mut stamps = stamps.iter().map(Stamp::read);
        if stamps.next() != record || !rest.is_empty() || stamps.len() != 2 * manifest.files().count() {
            return Self { record, ..Self::default() };
        }
        let same = || Some(Same { theirs: stamps.next()?, ours: stamps.next()? });
        Self { record, read: std::iter::from_fn(same).collect(), noted: HashMap::new() }
    }

    /// Returns the stamps of each file in a record that will be written, in its order.
    pub fn in_order(files: Vec<Same>) -> Self {
        Self { read: files, ..Self::default() }
    }

    /// Returns each file of the record, in order, with the state in which both had the same content. It is the record
    /// that the stamps were read with.
    pub fn of_each<'m>(
        &self,
        manifest: &'m Manifest,
    ) -> impl Iterator<Item = (&'m PathBuf, Option<Same>)> + use<'_, 'm> {
        let mut read = self.read.iter().copied();
        manifest.files().map(move |path| {
            let read = read.next();
            let same = self.noted.get(path).copied().or(read);
            (path, same.filter(|same| *same != Same::default()))
        })
    }

    /// Returns the same stamps, for a record that will change.
    #[must_use]
    pub fn by_path(self, manifest: &Manifest) -> Self {
        let noted = self.of_each(manifest).filter_map(|(path, same)| Some((path.clone(), same?))).collect();
        Self { record: self.record, read: Vec::new(), noted }
    }

    /// Writes the stamps, for the state of the record in which they were read.
    ///
    /// # Errors
    /// Returns an error if there is no space.
    pub fn write(&self, folder: &Folder, manifest: &Manifest) -> Result<()> {
        let record = self.record.context("there is no record")?;
        let same = self.of_each(manifest).map(|(_, same)| same.unwrap_or_default());
        let stamps = std::iter::once(record).chain(same.flat_map(|same| [same.theirs, same.ours]));
        let bytes: Vec<u8> = stamps.flat_map(Stamp::bytes).collect();
        write_private(&folder.copy_stamps(), &bytes)
    }

    /// Writes the stamps for the record as it is now, with the project's files that it says something new about. Whether
    /// the guest's are the same is not known. All stamps are [by path](Self::by_path).
    pub fn follow<'p>(
        mut self,
        folder: &Folder,
        manifest: &Manifest,
        changed: impl Iterator<Item = (&'p Path, Option<Stamp>)>,
    ) {
        for (path, ours) in changed {
            match ours {
                Some(ours) => self.note(path.to_owned(), Same { theirs: Stamp::default(), ours }),
                None => _ = self.noted.remove(path),
            }
        }
        self.record = record(folder).ok();
        if self.write(folder, manifest).is_err() {
            let _ = remove_file(&folder.copy_stamps());
        }
    }

    /// Notes that the two files have the same content, which is what was copied.
    pub fn note(&mut self, path: PathBuf, same: Same) {
        self.noted.insert(path, same);
    }
}

/// Identifies the state of a copy's record. It is never changed in place.
fn record(folder: &Folder) -> Result<Stamp> {
    let meta = fs::metadata(folder.copy_record())?;
    Ok(Stamp { number: meta.ino(), noted: meta.mtime() * 1_000_000_000 + meta.mtime_nsec() })
}
