//! Makes a copy, gives it away, and removes it.

use super::copy::{Copy, Record, open};
use super::tree;
use crate::fail_point::{self, FailPoint};
use crate::state::{Folder, remove_tree};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Gid, Uid};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

impl Copy {
    /// Copies a project, unless that was done already: a copy outlives its bottle's restarts.
    ///
    /// # Errors
    /// Returns an error if something cannot be read or written, or if there is a copy of another project with
    /// work in it.
    pub fn make(folder: &Folder, of: &Path) -> Result<Self> {
        if let Some(known) = Self::find(folder)? {
            if known.record.of == of {
                return Ok(known);
            }
            let (slug, other) = (folder.slug(), known.of().display());
            let changed = known.count();
            ensure!(
                matches!(changed, Ok(0)),
                "{slug} has a copy of {other} with changes in it; `bottle apply {slug}` applies them, `bottle rm {slug}` asks what to do with them"
            );
        }
        let path = folder.copy();
        // A copy without a record is incomplete, and nobody has worked in it.
        remove_tree(&path)?;
        let above = path.parent().unwrap_or(&path);
        DirBuilder::new().recursive(true).mode(0o711).create(above)?;
        DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        let manifest =
            tree::copy(&open(of)?, &open(&path)?).with_context(|| format!("cannot copy {}", of.display()))?;
        let made = Self { folder: folder.clone(), record: Record { of: of.to_owned(), manifest } };
        fail_point::reached(FailPoint::CopyMade);
        made.remember()?;
        Ok(made)
    }

    /// Returns how many paths the bottle's guest has changed; none if it has no copy.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be examined.
    pub fn changed(folder: &Folder) -> Result<usize> {
        Self::find(folder)?.map_or(Ok(0), |copy| copy.count())
    }

    /// Removes a bottle's copy unless the guest has changed something in it, and returns how many paths have
    /// changed.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be examined or removed.
    pub fn leave(folder: &Folder) -> Result<usize> {
        let changed = Self::changed(folder)?;
        if changed == 0 {
            folder.remove_copy()?;
        }
        Ok(changed)
    }
}

/// Gives a copy to the user that smolvm created for its machine, which could not write it otherwise.
///
/// # Errors
/// Returns an error if it cannot be given away.
pub fn give(path: &Path, uid: Uid) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.uid() == uid.as_raw() {
        return Ok(());
    }
    let dir = open(path)?;
    tree::give_all(&dir, uid, Gid::from_raw(uid.as_raw()))
}
