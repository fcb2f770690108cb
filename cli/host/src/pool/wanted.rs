//! Which machines the pool keeps ready, and the one process that does.

use super::shape::Shape;
use crate::state::{Home, Lock, parse_json, private_dir, remove_dir, write_private};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The most machines that wait at a time, of all shapes together.
pub const MOST: usize = 8;

/// A shape of which machines are kept ready, for as long as runs ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The shape.
    pub shape: Shape,
    /// How many machines.
    pub machines: u8,
}

fn folder(home: &Home) -> PathBuf {
    home.pool_records().join("wanted")
}

impl Wanted {
    /// Returns what runs have asked for lately, the newest first.
    pub fn all(home: &Home, lately: Duration) -> Vec<Self> {
        let mut found: Vec<(SystemTime, Self)> = Vec::new();
        for entry in fs::read_dir(folder(home)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension() != Some("json".as_ref()) {
                continue;
            }
            let asked = entry.metadata().and_then(|meta| meta.modified()).ok();
            let age = asked.map(|asked| asked.elapsed().unwrap_or_default());
            let read = fs::read_to_string(&path).ok().and_then(|text| parse_json(&path, &text).ok());
            match (asked, age, read) {
                (Some(asked), Some(age), Some(wanted)) if age < lately => found.push((asked, wanted)),
                _ => _ = fs::remove_file(path),
            }
        }
        found.sort_by_key(|(asked, _)| std::cmp::Reverse(*asked));
        found.into_iter().map(|(_, wanted)| wanted).collect()
    }

    /// Asks for these machines, from now on.
    ///
    /// # Errors
    /// Returns an error if that cannot be written.
    pub fn ask(&self, home: &Home) -> Result<()> {
        private_dir(&folder(home))?;
        write_private(&self.path(home)?, &serde_json::to_vec_pretty(self)?)
    }

    /// Stops asking for them.
    pub fn withdraw(&self, home: &Home) {
        if let Ok(path) = self.path(home) {
            let _ = fs::remove_file(path);
        }
    }

    /// Stops asking for any.
    ///
    /// # Errors
    /// Returns an error if what was asked for cannot be removed.
    pub fn withdraw_all(home: &Home) -> Result<()> {
        remove_dir(&folder(home))
    }

    fn path(&self, home: &Home) -> Result<PathBuf> {
        Ok(folder(home).join(format!("{}.json", self.shape.key()?)))
    }
}

/// Takes the lock of the process that keeps machines ready. Returns `None` if another one still has it after
/// `patience`.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub fn lock_warmer(home: &Home, patience: Duration) -> Result<Option<Lock>> {
    private_dir(&home.pool_records())?;
    Lock::alone(&home.pool_records().join("warmer.lock"), patience)
}

/// Returns whether a process keeps machines ready.
pub fn has_warmer(home: &Home) -> bool {
    let path = home.pool_records().join("warmer.lock");
    path.exists() && matches!(Lock::alone(&path, Duration::ZERO), Ok(None))
}
