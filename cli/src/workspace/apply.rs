//! Taking changes back into the project.

use super::Copy;
use super::changes::{Change, Kept, What};
use super::tree::{self, Entry};
use anyhow::{Context, Result};
use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::{Gid, Uid};
use std::io::ErrorKind;
use std::path::Path;

/// What became of the changes that were to be taken back.
#[derive(Debug, Default)]
pub struct Applied {
    /// Those that the project has now.
    pub taken: Vec<Change>,
    /// Those that stay in the guest, each with its reason.
    pub kept: Vec<Change>,
}

impl Copy {
    /// Takes these changes back. `overwrite` also takes those whose path the project has changed.
    /// What is taken is remembered at once, so that a crash in between loses nothing.
    ///
    /// # Errors
    /// Where the project cannot be written. What was taken before that stays taken.
    pub fn apply(&mut self, changes: Vec<Change>, overwrite: bool) -> Result<Applied> {
        let (ours, theirs) = (self.ours()?, self.theirs()?);
        let taken =
            |change: &Change| change.kept.is_none() || (overwrite && change.kept == Some(Kept::Conflict));
        let (mut take, kept): (Vec<_>, Vec<_>) = changes.into_iter().partition(taken);
        // Deletions first, the deepest before what it is in: a file may make room for a folder.
        take.sort_by_key(|change| {
            (change.what != What::Deleted, std::cmp::Reverse(change.path.components().count()))
        });
        let done = take.iter().try_for_each(|change| {
            take_back(&theirs, &ours, change).with_context(|| change.path.display().to_string())?;
            match Entry::at(&ours, &change.path) {
                Ok(entry) => self.record.manifest.0.insert(change.path.clone(), entry),
                Err(_) => self.record.manifest.0.remove(&change.path),
            };
            Ok(())
        });
        self.remember()?;
        done.map(|()| Applied { taken: take, kept })
    }
}

fn take_back(theirs: &Dir, ours: &Dir, change: &Change) -> Result<()> {
    let path = &change.path;
    clear(ours, path)?;
    if change.what == What::Deleted {
        return Ok(());
    }
    let entry = Entry::at(theirs, path)?;
    // It may be another since it was looked at.
    anyhow::ensure!(
        matches!(entry, Entry::File { .. } | Entry::Folder)
            || change.kept.is_none() && matches!(entry, Entry::Link(_)),
        "the guest has just made something else of it"
    );
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        ours.create_dir_all(above)?;
    }
    if entry == Entry::Folder && ours.is_dir(path) {
        return Ok(());
    }
    tree::put(theirs, ours, path, &entry)?;
    // Root works for whoever the project belongs to.
    if rustix::process::geteuid().is_root() {
        let project = ours.dir_metadata()?;
        tree::give(ours, path, Uid::from_raw(project.uid()), Gid::from_raw(project.gid()))?;
    }
    Ok(())
}

/// Makes room. A folder that is not empty stays: what is in it was not part of the change.
fn clear(ours: &Dir, path: &Path) -> Result<()> {
    let removed = match Entry::at(ours, path) {
        Ok(Entry::Folder) => ours.remove_dir(path),
        Ok(_) => ours.remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
