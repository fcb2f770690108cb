//! Taking changes back into the project.

use super::Copy;
use super::changes::{Change, Kept, What, kept};
use super::tree::{self, Entry};
use anyhow::{Context, Result, bail};
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
    /// What was taken is remembered at the end, also where something fails. A crash in between loses
    /// nothing: what is the same on both sides is no change.
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
    if change.what == What::Deleted {
        return clear(ours, path);
    }
    let entry = Entry::at(theirs, path)?;
    // The guest may have made something else of it since it was looked at.
    if let Some(why) = kept(path, Some(&entry)) {
        bail!("it is now {why}");
    }
    let above = path.parent().unwrap_or(Path::new(""));
    if !above.as_os_str().is_empty() {
        ours.create_dir_all(above)?;
    }
    if entry == Entry::Folder {
        if !ours.is_dir(path) {
            clear(ours, path)?;
            ours.create_dir(path)?;
        }
        return own(ours, path);
    }
    // Beside it first: what was there goes only once the new one is whole.
    let draft = above.join(DRAFT);
    clear(ours, &draft)?;
    let put = tree::put(theirs, path, ours, &draft, &entry).and_then(|()| {
        own(ours, &draft)?;
        if ours.symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
            ours.remove_dir(path)?;
        }
        Ok(ours.rename(&draft, ours, path)?)
    });
    if put.is_err() {
        let _ = ours.remove_file(&draft);
    }
    put
}

/// Where a path is put together, in its own folder.
const DRAFT: &str = ".bottle-apply.draft";

/// Root works for whoever the project belongs to.
fn own(ours: &Dir, path: &Path) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        let project = ours.dir_metadata()?;
        tree::give(ours, path, Uid::from_raw(project.uid()), Gid::from_raw(project.gid()))?;
    }
    Ok(())
}

/// Removes what is there. A folder that is not empty stays: what is in it was not part of the change.
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
