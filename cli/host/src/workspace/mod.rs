//! The workspace of `mode = "copy"`: the guest works on its own copy of the project, and a person
//! takes back what it changed, path by path.
//!
//! The guest is the adversary here, too. Its copy is read through descriptors that nothing leads out
//! of ([`tree`], [`crate::beneath`]), also while the guest changes it, and it is read once: what was
//! read is put aside ([`snapshot`]), and that is what is shown, judged and written ([`look`],
//! [`diff`], [`apply`]). What could run on the host by being there (anything that git could take for
//! a repository), or points out of the project, is not taken back ([`decide`]).

mod apply;
pub mod changes;
pub mod decide;
mod diff;
mod look;
mod snapshot;
pub mod tree;

pub use apply::Applied;
pub use look::{Digest, Look, MOST};

use crate::beneath::{self, Folder as Beneath};
use crate::fail_point::{self, FailPoint};
use crate::state::{Folder, remove_tree, write_private};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use tree::Manifest;

/// A bottle's copy of a project.
#[derive(Debug)]
pub struct Copy {
    folder: Folder,
    record: Record,
}

/// What is remembered of a copy: where it is from, and what was there when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    of: PathBuf,
    manifest: Manifest,
}

impl Copy {
    /// The copy of a bottle, if it has one.
    ///
    /// # Errors
    /// Where its record is there and cannot be read.
    pub fn find(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.copy_record();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let record = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(Self { folder: folder.clone(), record }))
    }

    /// Copies a project, unless that is done already: a copy outlives its bottle's restarts.
    ///
    /// # Errors
    /// Where something of it cannot be read or written, or there is a copy of another project with
    /// work in it.
    pub fn make(folder: &Folder, of: &Path) -> Result<Self> {
        if let Some(known) = Self::find(folder)? {
            if known.record.of == of {
                return Ok(known);
            }
            let (slug, other) = (folder.slug(), known.of().display());
            let changed = look::count(&known);
            ensure!(
                matches!(changed, Ok(0)),
                "{slug} has a copy of {other}, with changes; `bottle apply {slug}` takes them back, `bottle rm --force {slug}` throws them away"
            );
        }
        let place = folder.copy();
        // A copy without a record was cut off, and holds nothing that anybody worked on.
        remove_tree(&place)?;
        let above = place.parent().unwrap_or(&place);
        DirBuilder::new().recursive(true).mode(0o711).create(above)?;
        DirBuilder::new().mode(0o700).create(&place).with_context(|| place.display().to_string())?;
        let manifest =
            tree::copy(&open(of)?, &open(&place)?).with_context(|| format!("copying {}", of.display()))?;
        let made = Self { folder: folder.clone(), record: Record { of: of.to_owned(), manifest } };
        fail_point::reached(FailPoint::CopyMade);
        made.remember()?;
        Ok(made)
    }

    /// How many paths the guest of a bottle has changed: none where it has no copy.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub fn changed(folder: &Folder) -> Result<usize> {
        Self::find(folder)?.map_or(Ok(0), |copy| look::count(&copy))
    }

    /// Removes a bottle's copy unless the guest has changed something in it, and gives how many
    /// paths it has.
    ///
    /// # Errors
    /// Where that cannot be found out, or it cannot be removed.
    pub fn leave(folder: &Folder) -> Result<usize> {
        let changed = Self::changed(folder)?;
        if changed == 0 {
            folder.remove_copy()?;
        }
        Ok(changed)
    }

    /// Follows a project that was moved.
    ///
    /// # Errors
    /// Where that cannot be written down.
    pub fn follow(mut self, to: &Path) -> Result<()> {
        to.clone_into(&mut self.record.of);
        self.remember()
    }

    /// The project that it is a copy of.
    pub fn of(&self) -> &Path {
        &self.record.of
    }

    /// Looks at what the guest changed, at and below these paths, or everywhere. At most `most` bytes
    /// of files are read.
    ///
    /// # Errors
    /// Where one of the two folders cannot be read, or there is no room for what is read.
    pub fn look(&self, paths: &[PathBuf], most: u64) -> Result<Look> {
        Look::at(self, paths, most)
    }

    /// A folder that only its owner can look into.
    fn private(&self) -> &Path {
        self.folder.state()
    }

    fn theirs(&self) -> Result<Beneath> {
        open(&self.folder.copy())
    }

    fn ours(&self) -> Result<Beneath> {
        open(&self.record.of)
    }

    fn remember(&self) -> Result<()> {
        write_private(&self.folder.copy_record(), serde_json::to_string(&self.record)?.as_bytes())
    }
}

/// Gives a copy to the user that smolvm made for its machine, which otherwise could not write it.
///
/// # Errors
/// Where it cannot be given.
pub fn give(place: &Path, uid: Uid) -> Result<()> {
    let meta = fs::symlink_metadata(place)?;
    if meta.uid() == uid.as_raw() {
        return Ok(());
    }
    let dir = open(place)?;
    tree::give_all(&dir, uid, Gid::from_raw(uid.as_raw()))
}

fn open(path: &Path) -> Result<Beneath> {
    beneath::open(path).with_context(|| path.display().to_string())
}
