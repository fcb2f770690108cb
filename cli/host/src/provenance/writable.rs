//! The folders of this machine that a guest could write, and what came back from one.
//!
//! They are written down before a machine starts, and never forgotten: what a guest left there is
//! there when its bottle has long been removed.

use super::walk::{Identity, Walk, walk};
use crate::state::{Home, private_dir, write_private};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a guest's bytes get to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// A guest had it as a folder that it could write.
    Shared,
    /// A person took something back to it.
    CameBack,
}

/// A place where a guest's bytes may be: a folder with everything below it, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Where it was, without links.
    pub path: PathBuf,
    /// Which one it was: it may be called something else by now.
    pub identity: Identity,
    /// How a guest's bytes got there.
    pub how: How,
    /// Whose guests.
    pub slugs: BTreeSet<Slug>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// Where a path is, seen from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Within {
    /// It never comes into it.
    No,
    /// It is that very place.
    Itself,
    /// It leads through it, or into it.
    Yes,
}

/// Every such place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// The places, in the order in which they came.
    pub places: Vec<Place>,
}

impl Place {
    /// Where a path is, seen from here. `links_only` asks whether it leads through a link in here.
    pub fn holds(&self, walk: &Walk, links_only: bool) -> Within {
        let is_here = |path: &Path| path == self.path || walk.identities.get(path) == Some(&self.identity);
        let inside = walk.stations.iter().any(|station| {
            (station.is_link || !links_only) && station.place.ancestors().skip(1).any(is_here)
        });
        match inside {
            true => Within::Yes,
            false if !links_only && is_here(&walk.real) => Within::Itself,
            false => Within::No,
        }
    }
}

impl Ground {
    /// Reads it. None was written yet where no guest ever started.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read(home: &Home) -> Result<Self> {
        let path = file(home);
        let mut ground = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        // Every copy of a project is its guest's, and so is what a person finds when they look into it.
        if home.copies().is_dir() {
            ground.note(&home.copies(), How::Shared, None)?;
        }
        Ok(ground)
    }

    /// Adds a place, and writes everything down. Whoever calls has the lock.
    ///
    /// # Errors
    /// Where the place is not there, or it cannot be written.
    pub fn add(&mut self, home: &Home, path: &Path, how: How, slug: Option<&Slug>) -> Result<()> {
        self.note(path, how, slug)?;
        private_dir(&home.trusted())?;
        write_private(&file(home), serde_json::to_string_pretty(self)?.as_bytes())
    }

    fn note(&mut self, path: &Path, how: How, slug: Option<&Slug>) -> Result<()> {
        let walked = walk(path).with_context(|| path.display().to_string())?;
        let end = walked.end.with_context(|| format!("{} is not there", path.display()))?;
        let known = self
            .places
            .iter_mut()
            .find(|place| place.path == walked.real && place.identity == end.identity && place.how == how);
        match known {
            Some(place) => place.slugs.extend(slug.cloned()),
            None => self.places.push(Place {
                path: walked.real,
                identity: end.identity,
                how,
                slugs: slug.cloned().into_iter().collect(),
                since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            }),
        }
        Ok(())
    }

    /// The place that makes what is at the end of a path a guest's, if there is one.
    pub fn around(&self, walk: &Walk) -> Option<&Place> {
        self.places.iter().find(|place| place.holds(walk, false) != Within::No)
    }

    /// The folders that guests had.
    pub fn shared(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.how == How::Shared)
    }
}

fn file(home: &Home) -> PathBuf {
    home.trusted().join("ground.json")
}
