//! The record of a copy.

use super::exact;
use super::exclude::Lists;
use super::tree::Manifest;
use crate::state::{Folder, parse_json, write_private};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// The record of a copy: where it came from, and what was there when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(with = "exact")]
    pub of: PathBuf,
    pub manifest: Manifest,
    /// What was not copied. Records written by older versions have no lists.
    #[serde(default)]
    pub exclude: Option<Lists>,
}

impl Record {
    /// Reads a bottle's record, if it has one.
    pub fn read(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.copy_record();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        parse_json(&path, &text).map(Some)
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        write_private(&folder.copy_record(), serde_json::to_string(self)?.as_bytes())
    }
}
