//! Remembers the configurations that a person has seen and accepted, each with its path, folder and text.

use crate::config::{Config, Found};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use bottle_host::digest::hex;
use bottle_host::failure::Outcome;
use bottle_host::provenance::walk::Identity;
use bottle_host::state::{Home, private_dir, write_private};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The configuration that a person accepted last for a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The path where it was found.
    pub path: PathBuf,
    /// The folder that it was found in.
    folder: Identity,
    /// The SHA-256 of its bytes.
    digest: String,
    /// Its text.
    pub text: String,
}

impl Seen {
    /// Returns what was last accepted for a path, in the folder that has this path now.
    ///
    /// # Errors
    /// Returns an error if the record exists and cannot be read.
    pub fn find(home: &Home, path: &Path, folder: Identity) -> Result<Option<Self>> {
        let place = place(home, path);
        let text = match fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| place.display().to_string()),
        };
        let seen: Self = serde_json::from_str(&text).with_context(|| place.display().to_string())?;
        Ok(Some(seen).filter(|seen| seen.path == path && seen.folder == folder))
    }

    /// Returns whether these are the very same bytes.
    pub fn is(&self, found: &Found) -> bool {
        self.digest == found.digest() && self.text == found.text
    }

    /// Returns the bottle that it names, or whose name is that of its folder.
    ///
    /// # Errors
    /// Returns [`bottle_host::failure::Kind::Usage`] if neither is a valid name.
    pub fn slug(&self) -> Outcome<Slug> {
        #[derive(Deserialize)]
        struct Named {
            slug: Option<Slug>,
        }
        let slug = toml::from_str::<Named>(&self.text).ok().and_then(|named| named.slug);
        let project = self.path.parent().map(Path::to_owned);
        Config { slug, project, ..Config::default() }.slug(None, &self.path)
    }

    /// Remembers a configuration as accepted.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn remember(home: &Home, found: &Found) -> Result<()> {
        let seen = Self {
            path: found.path.clone(),
            folder: found.folder,
            digest: found.digest(),
            text: found.text.clone(),
        };
        private_dir(&home.trusted())?;
        write_private(&place(home, &found.path), serde_json::to_string(&seen)?.as_bytes())
    }

    /// Forgets it: a person accepts that it is gone.
    ///
    /// # Errors
    /// Returns an error if the record cannot be removed.
    pub fn forget(&self, home: &Home) -> Result<()> {
        let place = place(home, &self.path);
        fs::remove_file(&place).with_context(|| place.display().to_string())
    }
}

/// Returns the file for a path. It is named by a hash, because a path is not a file name.
fn place(home: &Home, path: &Path) -> PathBuf {
    home.trusted().join(format!("{}.json", hex(path.as_os_str().as_encoded_bytes())))
}
