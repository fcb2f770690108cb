//! The folder, its locks, and what is in it.

use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, Lock, private_dir};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command that removes waits for one that uses the store.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes are read at once.
const BUFFER: usize = 64 << 10;
pub(super) const BLOBS: &str = "blobs";
pub(super) const PARTIAL: &str = "partial";
pub(super) const ARCHIVES: &str = "archives";

/// The folder that holds images.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) root: PathBuf,
}

/// A file of the store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it is.
    pub path: PathBuf,
    /// The digest that its name states, if it is whole.
    pub digest: Option<ImageDigest>,
    /// Whether it is an archive.
    pub is_archive: bool,
    /// Its length in bytes.
    pub size: u64,
}

impl Store {
    /// Returns the store of a home, which need not exist.
    pub fn of(home: &Home) -> Self {
        Self { root: home.images() }
    }

    /// Returns its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock that keeps others from removing anything.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be made.
    pub fn lease(&self) -> Result<Lock> {
        for name in [BLOBS, PARTIAL, ARCHIVES] {
            private_dir(&self.root.join(name))?;
        }
        Lock::shared(&self.root.join("lock"))
    }

    /// Takes the lock that it needs to remove something.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if somebody uses the store.
    pub fn alone(&self) -> Outcome<Lock> {
        private_dir(&self.root)?;
        Lock::alone(&self.root.join("lock"), PATIENCE)?.ok_or_else(|| {
            Failure::new(Kind::Busy, "another command is fetching or using an image")
                .help("wait for it to end, and try again")
        })
    }

    /// Returns the path of a whole part.
    pub fn blob(&self, digest: &ImageDigest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    /// Returns the path of an image's archive.
    pub fn archive(&self, digest: &ImageDigest) -> PathBuf {
        self.root.join(ARCHIVES).join(format!("{}.tar", digest.hex()))
    }

    /// Returns whether a part is there, as far as that is seen without reading it.
    pub fn has(&self, digest: &ImageDigest) -> bool {
        self.blob(digest).is_file()
    }

    /// Reads a document, and checks it against its digest. A document that was changed is not there.
    pub fn document(&self, digest: &ImageDigest) -> Option<Vec<u8>> {
        fs::read(self.blob(digest)).ok().filter(|bytes| digest_of(bytes) == *digest)
    }

    /// Stores a document.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn put(&self, digest: &ImageDigest, bytes: &[u8]) -> Result<()> {
        let mut draft = self.named(PARTIAL)?;
        draft.write_all(bytes).context("cannot write a document")?;
        draft.persist(self.blob(digest))?;
        Ok(())
    }

    /// Makes a file for an archive, which appears under its name only as a whole.
    ///
    /// # Errors
    /// Returns an error if `write` fails, or the disk does.
    pub fn put_archive<E: From<anyhow::Error>>(
        &self,
        digest: &ImageDigest,
        write: impl FnOnce(&File) -> Result<(), E>,
    ) -> Result<(), E> {
        let what = || format!("cannot write {}", self.archive(digest).display());
        let draft = self.named(ARCHIVES).with_context(what)?;
        write(draft.as_file())?;
        let keep = || -> Result<()> {
            // smolvm links or copies the file into a cache of its own, and the machine's process reads it there,
            // as a user of its own if root started it.
            draft.as_file().set_permissions(Permissions::from_mode(0o444))?;
            draft.as_file().sync_all()?;
            draft.persist(self.archive(digest))?;
            Ok(())
        };
        Ok(keep().with_context(what)?)
    }

    /// Lists everything in the store but its lock.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be read.
    pub fn items(&self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for folder in [BLOBS, PARTIAL, ARCHIVES] {
            let Ok(entries) = fs::read_dir(self.root.join(folder)) else { continue };
            for entry in entries {
                let entry = entry?;
                let (path, meta) = (entry.path(), entry.metadata()?);
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let digest = format!("sha256:{stem}").parse().ok().filter(|_| folder != PARTIAL);
                items.push(Item { digest, is_archive: folder == ARCHIVES, size: meta.len(), path });
            }
        }
        items.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(items)
    }
}

/// Returns the digest of bytes.
pub fn digest_of(bytes: &[u8]) -> ImageDigest {
    digest_from(Sha256::new_with_prefix(bytes))
}

/// Reads to the end, and returns what was hashed and its length.
pub(crate) fn hashed(reader: &mut impl Read) -> io::Result<(Sha256, u64)> {
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((hash, length)),
            read => {
                hash.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// Returns the digest of everything that was hashed.
pub fn digest_from(hash: Sha256) -> ImageDigest {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match format!("sha256:{hex}").parse() {
        Ok(digest) => digest,
        Err(_) => unreachable!("32 bytes are 64 digits"),
    }
}
