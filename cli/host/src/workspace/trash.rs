//! The trash, which keeps removed copies with work in them for a week.
//!
//! An entry is a folder: `entry.json` describes it, `record.json` is the copy's own record, and `files` is
//! the copy. An entry without files is incomplete, and holds nothing.

use crate::out;
use crate::state::{Folder, Home, parse_json, private_dir, remove_tree, write_private};
use anyhow::{Context, Result, ensure};
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long an entry is kept.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A copy in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in the trash: the bottle's, and a number.
    pub name: String,
    /// The bottle that it was removed from.
    pub slug: Slug,
    /// The project that it is a copy of.
    pub of: PathBuf,
    /// How many paths the guest had changed, if that could be found out.
    pub changed: Option<usize>,
    /// When it was removed.
    pub removed: SystemTime,
}

/// The trash of a state folder.
#[derive(Clone, Debug)]
pub struct Trash(PathBuf);

impl Trash {
    /// Returns the trash of these bottles.
    pub fn of(home: &Home) -> Self {
        Self(home.trash())
    }

    /// Moves a bottle's copy and its record into the trash. Returns `None` if the bottle has no copy.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be moved. It is still in its old place then.
    pub fn take(&self, folder: &Folder, of: &Path, changed: Option<usize>) -> Result<Option<Entry>> {
        let copy = folder.copy();
        if !copy.exists() {
            return Ok(None);
        }
        private_dir(&self.0)?;
        let slug = folder.slug().clone();
        let name =
            (1..u32::MAX).map(|number| format!("{slug}.{number}")).find(|name| !self.0.join(name).exists());
        let name = name.context("the trash is full")?;
        let entry = Entry { name, slug, of: of.to_owned(), changed, removed: SystemTime::now() };
        let place = self.0.join(&entry.name);
        private_dir(&place)?;
        let record =
            fs::read(folder.copy_record()).with_context(|| folder.copy_record().display().to_string())?;
        write_private(&place.join("record.json"), &record)?;
        write_private(&place.join("entry.json"), serde_json::to_string(&entry)?.as_bytes())?;
        fs::rename(&copy, place.join("files")).with_context(|| copy.display().to_string())?;
        fs::remove_file(folder.copy_record())?;
        Ok(Some(entry))
    }

    /// Lists the entries, oldest first.
    ///
    /// # Errors
    /// Returns an error if the trash cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let folders = match fs::read_dir(&self.0) {
            Ok(folders) => folders,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        let mut entries: Vec<Entry> = Vec::new();
        for folder in folders {
            let place = folder?.path();
            let Ok(text) = fs::read_to_string(place.join("entry.json")) else { continue };
            if !place.join("files").exists() {
                continue;
            }
            // One that is damaged hides none of the others.
            match parse_json(&place.join("entry.json"), &text) {
                Ok(entry) => entries.push(entry),
                Err(error) => out::note(format_args!("{error:#}; the copy is in {}", place.display())),
            }
        }
        entries.sort_by_key(|entry| entry.removed);
        Ok(entries)
    }

    /// Gives the entries of a bottle to the name that it has now.
    ///
    /// # Errors
    /// Returns an error if one cannot be written. It still belongs to the old name then.
    pub fn follow(&self, from: &Slug, to: &Slug) -> Result<()> {
        for entry in self.entries()?.into_iter().filter(|entry| entry.slug == *from) {
            let place = self.0.join(&entry.name).join("entry.json");
            write_private(&place, serde_json::to_string(&Entry { slug: to.clone(), ..entry })?.as_bytes())?;
        }
        Ok(())
    }

    /// Moves an entry back, as the copy of its bottle.
    ///
    /// # Errors
    /// Returns an error if the bottle already has a copy, or if there is no such entry.
    pub fn restore(&self, entry: &Entry, folder: &Folder) -> Result<()> {
        ensure!(!folder.copy().exists(), "the bottle {} has a copy of a project already", folder.slug());
        let place = self.0.join(&entry.name);
        let record = fs::read(place.join("record.json")).with_context(|| place.display().to_string())?;
        if let Some(above) = folder.copy().parent() {
            fs::create_dir_all(above).with_context(|| above.display().to_string())?;
        }
        private_dir(folder.state())?;
        // The record comes first: a copy without one would count as incomplete.
        write_private(&folder.copy_record(), &record)?;
        fs::rename(place.join("files"), folder.copy()).with_context(|| place.display().to_string())?;
        remove_tree(&place)
    }

    /// Removes the entries that are a week old, or all of them. Returns how many it removed.
    ///
    /// # Errors
    /// Returns an error if something cannot be removed.
    pub fn empty(&self, everything: bool) -> Result<usize> {
        let mut removed = 0;
        for entry in self.entries()? {
            // If the clock was set back, the entry is kept.
            let age = entry.removed.elapsed().unwrap_or_default();
            if everything || age >= KEPT {
                remove_tree(&self.0.join(&entry.name))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
