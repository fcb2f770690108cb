//! A guest's own copy of a project, and the record of it.

use super::journal::{self, Unfinished};
use super::record::Record;
use crate::beneath::{self, Folder as Beneath};
use crate::out;
use crate::state::Folder;
use anyhow::{Context, Result, ensure};
use bottle_core::slug::Slug;
use bottle_core::visible::Bytes;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A bottle's copy of a project.
#[derive(Debug)]
pub struct Copy {
    pub(super) folder: Folder,
    pub(super) record: Record,
}

impl Copy {
    /// Returns the copy of a bottle, if it has one. An interrupted `apply` is finished or undone first.
    ///
    /// # Errors
    /// Returns an error if its record cannot be read or is gone, or if an interrupted `apply` cannot be undone.
    pub fn find(folder: &Folder) -> Result<Option<Self>> {
        recover(folder)?;
        let (copy, slug) = (folder.copy(), folder.slug());
        let Some(record) = Record::read(folder)? else {
            // A copy has a record before it has its name, so somebody removed this one's.
            ensure!(
                !copy.exists(),
                "the record of {slug}'s copy is gone, so nothing tells what its guest changed; move {} elsewhere, and try again",
                copy.display()
            );
            return Ok(None);
        };
        if !copy.exists() && folder.copy_draft().exists() {
            folder.name_copy()?;
        }
        Ok(Some(Self { folder: folder.clone(), record }))
    }

    /// Reads the record again after it has changed.
    pub(super) fn reread(&mut self) -> Result<()> {
        if let Some(record) = Record::read(&self.folder)? {
            self.record = record;
        }
        Ok(())
    }

    /// Returns the bottle whose copy it is.
    pub fn slug(&self) -> &Slug {
        self.folder.slug()
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
        self.record.write(&self.folder)
    }
}

/// Opens the folder of a project, or of a copy.
pub(super) fn open(path: &Path) -> Result<Beneath> {
    beneath::open(path).with_context(|| path.display().to_string())
}

/// Follows a project that was moved: updates its copy's record, and any interrupted `apply` to it.
///
/// # Errors
/// Returns an error if its new path cannot be recorded.
pub fn follow(folder: &Folder, to: &Path) -> Result<()> {
    journal::follow(folder, to)?;
    let Some(mut record) = Record::read(folder)? else { return Ok(()) };
    to.clone_into(&mut record.of);
    record.write(folder)
}

/// Finishes or undoes an interrupted `apply` or `undo` if possible. Otherwise, because the project is not
/// where it was, returns what is left of it.
///
/// # Errors
/// Returns an error as for [`recover`].
pub fn unfinished(folder: &Folder) -> Result<Option<Unfinished>> {
    recover(folder)?;
    journal::unfinished(folder)
}

/// Finishes or undoes an interrupted `apply` or `undo` in the project, and says so.
///
/// # Errors
/// Returns an error if that is impossible. The next command tries again.
pub fn recover(folder: &Folder) -> Result<()> {
    let what = || format!("an interrupted `bottle apply {}` cannot be undone", folder.slug());
    let Some(recovered) = journal::recover(folder).with_context(what)? else { return Ok(()) };
    let slug = folder.slug();
    out::note(if recovered.is_undone {
        format!("an interrupted `bottle apply` of {slug} was undone: the project is as it was")
    } else {
        format!("an interrupted `bottle apply` of {slug} was finished: the project has all of it")
    });
    for (path, kept) in &recovered.left {
        let shown = |path: &Path| Bytes(path.as_os_str().as_bytes()).to_string();
        out::note(format_args!(
            "  except {}, which was changed since; what it was before is {}",
            shown(path),
            shown(kept)
        ));
    }
    Ok(())
}
