//! Reverts what the last `apply` did to the project.

use super::backup::{self, Backup, Was};
use super::changes::{Change, What};
use super::copy::open;
use super::decide::Here;
use super::journal::{self, Job, Request};
use super::look;
use super::tree::Entry;
use crate::beneath::Folder as Beneath;
use crate::state::Folder;
use anyhow::Result;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What one `apply` did, ready to be reverted.
#[derive(Debug)]
pub struct Undo {
    folder: Folder,
    number: u64,
    backup: Backup,
    ours: Beneath,
}

impl Undo {
    /// Finds what the last `apply` of a bottle did, if that is still known.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn last(folder: &Folder) -> Result<Option<Self>> {
        let Some(number) = backup::numbers(folder)?.pop() else { return Ok(None) };
        let backup = backup::read(folder, number)?;
        let ours = open(&backup.project)?;
        Ok(Some(Self { folder: folder.clone(), number, backup, ours }))
    }

    /// Returns the folder of the project.
    pub fn project(&self) -> &Path {
        &self.backup.project
    }

    /// Returns when the changes were applied.
    pub fn when(&self) -> SystemTime {
        self.backup.when
    }

    /// Returns the folder with what was at the paths before.
    pub fn place(&self) -> PathBuf {
        backup::shown(&self.folder, self.number)
    }

    /// Returns what will change in the project.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        self.backup.paths.iter().filter_map(|was| {
            let what = match (&was.before, &was.after) {
                (None, Some(_)) => What::Deleted,
                (Some(_), None) => What::Added,
                (Some(Entry::File { .. }), Some(Entry::File { .. })) => What::Changed,
                (Some(before), Some(after)) if before != after => What::Changed,
                _ => return None,
            };
            Some(Change { path: was.path.clone(), what, kept: None })
        })
    }

    /// Returns the paths that somebody has changed since. To undo, they must be as `apply` left them.
    pub fn changed_since(&self) -> Vec<PathBuf> {
        let changed = self.backup.paths.iter().filter(|was| {
            let now = look::here(&self.ours, &was.path);
            match (&was.after, &now) {
                // A folder that `apply` kept because of what else was in it, or something that is gone again
                // by now.
                (None, Here::Nothing) | (None, Here::Blocked) => false,
                (None, Here::Is(Entry::Folder)) => was.before != Some(Entry::Folder),
                (Some(after), Here::Is(now)) => now != after,
                _ => true,
            }
        });
        changed.map(|was| was.path.clone()).collect()
    }

    /// Reverts it, all of it or nothing.
    ///
    /// # Errors
    /// Returns an error if the project cannot be written. It is unchanged then.
    pub fn carry_out(&self) -> Result<()> {
        let requests: Vec<Request> = self.backup.paths.iter().map(|was| self.request(was)).collect();
        let fill = |index: usize, to: &File| backup::restore(&self.folder, self.number, index, to);
        let job = Job {
            folder: &self.folder,
            project: &self.backup.project,
            fill: &fill,
            restores: Some(self.number),
        };
        journal::grant(&job, &requests)
    }

    fn request(&self, was: &Was) -> Request {
        let before = match look::here(&self.ours, &was.path) {
            Here::Is(entry) => Some(entry),
            Here::Nothing | Here::Blocked => None,
        };
        Request {
            path: was.path.clone(),
            before,
            after: was.before.clone(),
            recorded: Some(was.recorded.clone()),
        }
    }
}
