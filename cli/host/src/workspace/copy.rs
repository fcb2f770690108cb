//! A guest's own copy of a project, and the record of it.

use super::tree::Manifest;
use crate::beneath::{self, Folder as Beneath};
use crate::state::{Folder, parse_json, write_private};
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

/// The record of a copy: where it came from, and what was there when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub of: PathBuf,
    pub manifest: Manifest,
}

impl Copy {
    /// Returns the copy of a bottle, if it has one.
    ///
    /// # Errors
    /// Returns an error if its record exists and cannot be read.
    pub fn find(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.copy_record();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let record = parse_json(&path, &text)?;
        Ok(Some(Self { folder: folder.clone(), record }))
    }

    /// Follows a project that was moved.
    ///
    /// # Errors
    /// Returns an error if its new path cannot be recorded.
    pub fn follow(mut self, to: &Path) -> Result<()> {
        to.clone_into(&mut self.record.of);
        self.remember()
    }

    /// Returns the project that it is a copy of.
    pub fn of(&self) -> &Path {
        &self.record.of
    }

    /// Returns a folder that only its owner can enter.
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
