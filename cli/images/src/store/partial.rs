//! Parts that are not whole, and parts that are no longer what they were.
//!
//! Whoever changes a part, under its own name or as a partial one, holds the lock of its partial file.

use super::folder::{PARTIAL, Store, digest_from, hashed};
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

impl Store {
    /// Opens a part that is to be fetched, or to be fetched further. Calls `waits` if another process is at it,
    /// and waits for that process. Returns `None` if the part is there as a whole.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub fn partial(&self, digest: &ImageDigest, waits: impl FnOnce()) -> Result<Option<Partial>> {
        let path = self.partial_path(digest);
        let Some(file) = locked(&path, || self.has(digest), waits)? else { return Ok(None) };
        let partial = Partial { file, path, blob: self.blob(digest), hash: Sha256::new(), length: 0 };
        Ok(Some(partial.read()?))
    }

    fn partial_path(&self, digest: &ImageDigest) -> PathBuf {
        self.root.join(PARTIAL).join(digest.hex())
    }

    /// Reads a part, and removes it if it does not have its digest. Returns whether it is gone, or was not there. A
    /// part that is what its name says is never removed: another process may be using it for another image.
    ///
    /// # Errors
    /// Returns an error if the part cannot be read or removed.
    pub fn remove_damaged(&self, digest: &ImageDigest) -> Result<bool> {
        let (path, blob) = (self.partial_path(digest), self.blob(digest));
        let is_gone = || fs::symlink_metadata(&blob).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let Some(_lock) = locked(&path, is_gone, || {})? else { return Ok(true) };
        let is_right = match File::open(&blob) {
            Ok(mut file) => {
                digest_from(hashed(&mut file).with_context(|| blob.display().to_string())?.0) == *digest
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error).with_context(|| blob.display().to_string()),
        };
        if !is_right {
            fs::remove_file(&blob).with_context(|| blob.display().to_string())?;
            return Ok(true);
        }
        // The whole part is there, so nobody needs the partial file.
        fs::remove_file(&path)?;
        Ok(false)
    }
}

/// Opens a file that only one process has at a time, or returns `None` once there is no need.
fn locked(path: &Path, is_done: impl Fn() -> bool, waits: impl FnOnce()) -> Result<Option<File>> {
    let mut waits = Some(waits);
    loop {
        if is_done() {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path).with_context(|| path.display().to_string())?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waits.take().into_iter().for_each(|waits| waits());
            flock(&file, FlockOperation::LockExclusive).with_context(|| path.display().to_string())?;
        }
        // Whoever held the lock may have finished the part meanwhile, or removed it.
        let is_same = |there: fs::Metadata| {
            file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        };
        if fs::symlink_metadata(path).is_ok_and(is_same) {
            return Ok(Some(file));
        }
    }
}

/// A part that is not whole yet. Nobody else writes to it meanwhile.
pub struct Partial {
    file: File,
    path: PathBuf,
    blob: PathBuf,
    hash: Sha256,
    length: u64,
}

impl Partial {
    /// Reads what an earlier process has fetched.
    fn read(mut self) -> Result<Self> {
        (self.hash, self.length) = hashed(&mut self.file)?;
        Ok(self)
    }

    /// Returns how many bytes are here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Starts again from the beginning.
    ///
    /// # Errors
    /// Returns an error if the file cannot be emptied.
    pub fn empty(&mut self) -> Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hash, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Returns an error if they cannot be written.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Returns whether what is here is the part with this digest.
    pub fn is(&self, digest: &ImageDigest) -> bool {
        digest_from(self.hash.clone()) == *digest
    }

    /// Makes it a whole part. Whoever calls this has asked whether it [is](Self::is) the right one.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.blob)?;
        Ok(())
    }

    /// Forgets what is here.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::digest_of;
    use crate::store::fixture::store;

    #[test]
    fn only_a_part_that_is_damaged_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, digest) = (store(&dir), digest_of(b"right"));
        assert!(store.remove_damaged(&digest).unwrap(), "it is not there");
        store.put(&digest, b"right").unwrap();
        assert!(!store.remove_damaged(&digest).unwrap());
        assert!(store.has(&digest));
        fs::write(store.blob(&digest), "wrong").unwrap();
        assert!(store.remove_damaged(&digest).unwrap());
        assert!(!store.has(&digest));
        assert!(store.partial(&digest, || {}).unwrap().is_some(), "it can be fetched again");
    }

    #[test]
    fn a_link_is_no_partial_file() {
        let dir = tempfile::tempdir().unwrap();
        let (store, digest) = (store(&dir), digest_of(b"x"));
        let other = dir.path().join("other");
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, store.root().join(PARTIAL).join(digest.hex())).unwrap();
        assert!(store.partial(&digest, || {}).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"mine");
    }
}
