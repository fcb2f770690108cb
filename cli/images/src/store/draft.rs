//! Files that are being written, and are not part of the store yet.

use super::folder::{PARTIAL, Store, digest_from};
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// How the name of a draft begins.
const DRAFT: &str = ".draft-";
/// How it began before drafts were locked.
const UNLOCKED: &str = ".tmp";

impl Store {
    /// Makes a file without a name yet, which is gone if nobody [keeps](Draft::keep) it.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn draft(&self) -> Result<Draft> {
        let file = tempfile::tempfile_in(self.root.join(PARTIAL)).context("cannot make a file")?;
        Ok(Draft { file, hash: Sha256::new(), length: 0 })
    }

    /// Makes a file in one of the store's folders that is to be renamed, and removes those that killed processes left
    /// there. Each is locked for as long as somebody writes it.
    pub(super) fn named(&self, folder: &str) -> Result<NamedTempFile> {
        let folder = self.root.join(folder);
        sweep(&folder);
        loop {
            let draft = tempfile::Builder::new().prefix(DRAFT).tempfile_in(&folder)?;
            // Another process may have taken it for one that was left, before it was locked.
            let is_locked = flock(draft.as_file(), FlockOperation::NonBlockingLockExclusive).is_ok();
            let own = draft.as_file().metadata()?;
            if is_locked && fs::symlink_metadata(draft.path()).is_ok_and(|there| there.ino() == own.ino()) {
                return Ok(draft);
            }
        }
    }
}

/// Removes drafts that nobody writes. One that cannot be removed is left for the next time.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_draft =
            name.to_str().is_some_and(|name| name.starts_with(DRAFT) || name.starts_with(UNLOCKED));
        if !is_draft || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file without a name, and the digest of what was written to it so far.
#[derive(Debug)]
pub struct Draft {
    file: File,
    hash: Sha256,
    length: u64,
}

impl Draft {
    /// Returns how many bytes were written.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Gives out the file, with the digest and the length of what was written.
    pub fn into_parts(self) -> (File, ImageDigest, u64) {
        (self.file, digest_from(self.hash), self.length)
    }

    /// Makes it a part of the store, by its digest.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn keep(mut self, store: &Store) -> Result<(ImageDigest, u64)> {
        let digest = digest_from(self.hash);
        let mut named = store.named(PARTIAL)?;
        self.file.rewind()?;
        io::copy(&mut self.file, named.as_file_mut()).context("cannot write a part")?;
        named.as_file().sync_all()?;
        named.persist(store.blob(&digest))?;
        Ok((digest, self.length))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::store;

    #[test]
    fn a_draft_that_nobody_writes_is_removed_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let folder = store.root().join(PARTIAL);
        fs::write(folder.join(".draft-left"), "x").unwrap();
        fs::write(folder.join(".tmpleft"), "x").unwrap();
        fs::write(folder.join("other"), "x").unwrap();
        let held = store.named(PARTIAL).unwrap();
        let next = store.named(PARTIAL).unwrap();
        assert!(held.path().exists() && next.path().exists());
        let names = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name());
        assert_eq!(names.count(), 3, "two drafts and another file");
        assert!(folder.join("other").exists());
    }
}
