//! What a keeper serves: `services.json`, written before there is a guest.

use crate::state::{Folder, parse_json, write_private};
use anyhow::{Context, Result};
use bottle_core::specification::Services;

/// Reads the file that [`write`] wrote.
///
/// # Errors
/// Returns an error if the file cannot be read, or was written by another version.
pub fn read(folder: &Folder) -> Result<Services> {
    let path = folder.services();
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse_json(&path, &text)
}

/// Writes the file into a bottle's folder.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn write(services: &Services, folder: &Folder) -> Result<()> {
    write_private(&folder.services(), serde_json::to_string_pretty(services)?.as_bytes())
}
