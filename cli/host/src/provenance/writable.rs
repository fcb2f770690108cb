//! The folders on this machine that guests could write to, and the files that came back from guests.
//!
//! A folder is recorded before the machine that shares it starts, and is never forgotten: what a guest left
//! there remains long after its bottle was removed.

use super::walk::{Identity, Walk, walk};
use crate::state::{Home, parse_json, private_dir, write_private};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a guest's bytes reach a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// A guest could write to the folder.
    Shared,
    /// A person copied something from a guest to it.
    CameBack,
}

/// A path that may contain a guest's bytes: a folder with everything below it, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WritablePath {
    /// Where it was, without links.
    pub path: PathBuf,
    /// Its identity, because the folder or file may have been renamed since.
    pub identity: Identity,
    /// How a guest's bytes got there.
    pub how: How,
    /// The bottles whose guests they were.
    pub slugs: BTreeSet<Slug>,
    /// When it was recorded, in seconds since 1970.
    pub since: u64,
}

/// How a path relates to a [`WritablePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Within {
    /// It stays outside.
    No,
    /// It is that very folder or file.
    Itself,
    /// It leads into the folder, or through it.
    Yes,
}

/// Every path on this machine that may contain a guest's bytes, as `ground.json` records them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WritablePaths {
    /// The paths, in the order in which they were recorded.
    #[serde(rename = "places")]
    pub paths: Vec<WritablePath>,
}

impl WritablePath {
    /// Returns how a path relates to this one. With `links_only`, only links in here count.
    pub fn holds(&self, walk: &Walk, links_only: bool) -> Within {
        let is_here = |path: &Path| path == self.path || walk.identities.get(path) == Some(&self.identity);
        let inside = walk
            .stations
            .iter()
            .any(|station| (station.is_link || !links_only) && station.path.ancestors().skip(1).any(is_here));
        match inside {
            true => Within::Yes,
            false if !links_only && is_here(&walk.real) => Within::Itself,
            false => Within::No,
        }
    }
}

impl WritablePaths {
    /// Reads the record. It is missing until the first guest starts.
    ///
    /// # Errors
    /// Returns an error if the record exists and cannot be read.
    pub fn read(home: &Home) -> Result<Self> {
        let path = file(home);
        let mut writable = match fs::read_to_string(&path) {
            Ok(text) => parse_json(&path, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        // Guests write to their copies of projects, and a person may work in one of those copies.
        if home.copies().is_dir() {
            writable.note(&home.copies(), How::Shared, None)?;
        }
        Ok(writable)
    }

    /// Adds a path and writes the record. The caller holds the lock.
    ///
    /// # Errors
    /// Returns an error if the path does not exist, or if the record cannot be written.
    pub fn add(&mut self, home: &Home, path: &Path, how: How, slug: Option<&Slug>) -> Result<()> {
        self.note(path, how, slug)?;
        private_dir(&home.trusted())?;
        write_private(&file(home), serde_json::to_string_pretty(self)?.as_bytes())
    }

    fn note(&mut self, path: &Path, how: How, slug: Option<&Slug>) -> Result<()> {
        let walked = walk(path).with_context(|| path.display().to_string())?;
        let end = walked.end.with_context(|| format!("{} does not exist", path.display()))?;
        let known = self
            .paths
            .iter_mut()
            .find(|known| known.path == walked.real && known.identity == end.identity && known.how == how);
        match known {
            Some(known) => known.slugs.extend(slug.cloned()),
            None => self.paths.push(WritablePath {
                path: walked.real,
                identity: end.identity,
                how,
                slugs: slug.cloned().into_iter().collect(),
                since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            }),
        }
        Ok(())
    }

    /// Returns the recorded path that makes the end of a walked path untrusted, if there is one.
    pub fn around(&self, walk: &Walk) -> Option<&WritablePath> {
        self.paths.iter().find(|path| path.holds(walk, false) != Within::No)
    }

    /// Returns the folders that guests could write to.
    pub fn shared(&self) -> impl Iterator<Item = &WritablePath> {
        self.paths.iter().filter(|path| path.how == How::Shared)
    }
}

fn file(home: &Home) -> PathBuf {
    home.trusted().join("ground.json")
}
