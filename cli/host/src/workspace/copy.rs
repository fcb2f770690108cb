//! A guest's own copy of a project, and what is remembered of it.

use super::tree::Manifest;
use crate::beneath::{self, Folder as Beneath};
use crate::state::{Folder, write_private};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// A bottle's copy of a project.
#[derive(Debug)]
pub struct Copy {
    pub(super) folder: Folder,
    pub(super) record: Record,
}

/// What is remembered of a copy: where it is from, and what was there when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub of: PathBuf,
    pub manifest: Manifest,
}

impl Copy {
    /// The copy of a bottle, if it has one.
    ///
    /// # Errors
    /// Where its record is there and cannot be read.
    pub fn find(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.copy_record();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let record = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(Self { folder: folder.clone(), record }))
    }

    /// Follows a project that was moved.
    ///
    /// # Errors
    /// If the new place cannot be written down.
    pub fn follow(mut self, to: &Path) -> Result<()> {
        to.clone_into(&mut self.record.of);
        self.remember()
    }

    /// The project that it is a copy of.
    pub fn of(&self) -> &Path {
        &self.record.of
    }

    /// A folder that only its owner can look into.
    pub(super) fn private(&self) -> &Path {
        self.folder.state()
    }

    pub(super) fn theirs(&self) -> Result<Beneath> {
        open(&self.folder.copy())
    }

    pub(super) fn ours(&self) -> Result<Beneath> {
        open(&self.record.of)
    }

    pub(super) fn remember(&self) -> Result<()> {
        write_private(&self.folder.copy_record(), serde_json::to_string(&self.record)?.as_bytes())
    }
}

/// Opens the folder of a project, or of a copy.
pub(super) fn open(path: &Path) -> Result<Beneath> {
    beneath::open(path).with_context(|| path.display().to_string())
}
