//! What was fetched, by its digest.
//!
//! `blobs/` holds whole parts whose digest was checked, `partial/` parts that are being fetched or whose fetching
//! broke off, and `archives/` what smolvm reads. Whoever uses the store holds its lock with others, and whoever
//! removes from it holds the lock alone. The kernel releases a lock when its process ends, however it ends.

use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, Lock, private_dir};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long a command that removes waits for one that uses the store.
const PATIENCE: Duration = Duration::from_secs(10);
const BLOBS: &str = "blobs";
const PARTIAL: &str = "partial";
const ARCHIVES: &str = "archives";

/// The folder that holds images.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
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

    /// Returns whether a part is there as a whole.
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
        let mut draft = NamedTempFile::new_in(self.root.join(PARTIAL))?;
        draft.write_all(bytes).context("cannot write a document")?;
        draft.persist(self.blob(digest))?;
        Ok(())
    }

    /// Makes a file without a name yet, which is gone if nobody [keeps](Draft::keep) it.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn draft(&self) -> Result<Draft> {
        let file = tempfile::tempfile_in(self.root.join(PARTIAL)).context("cannot make a file")?;
        Ok(Draft { file, hash: Sha256::new(), length: 0 })
    }

    /// Makes a file for an archive, which appears under its name only as a whole.
    ///
    /// # Errors
    /// Returns an error if `write` fails, or the disk does.
    pub fn put_archive(&self, digest: &ImageDigest, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
        let make = || -> Result<()> {
            let draft = NamedTempFile::new_in(self.root.join(ARCHIVES))?;
            write(draft.as_file())?;
            // smolvm links or copies the file into a cache of its own, and the machine's process reads it there,
            // as a user of its own if root started it.
            draft.as_file().set_permissions(Permissions::from_mode(0o444))?;
            draft.as_file().sync_all()?;
            draft.persist(self.archive(digest))?;
            Ok(())
        };
        make().with_context(|| format!("cannot write {}", self.archive(digest).display()))
    }

    /// Opens a part that is to be fetched, or to be fetched further. Calls `waits` if another process is at it,
    /// and waits for that process. Returns `None` if the part is there as a whole.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub fn partial(&self, digest: &ImageDigest, waits: impl FnOnce()) -> Result<Option<Partial>> {
        let path = self.root.join(PARTIAL).join(digest.hex());
        let mut waits = Some(waits);
        loop {
            if self.has(digest) {
                return Ok(None);
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).with_context(|| path.display().to_string())?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                waits.take().into_iter().for_each(|waits| waits());
                flock(&file, FlockOperation::LockExclusive).with_context(|| path.display().to_string())?;
            }
            // Whoever held the lock may have finished the part meanwhile, or removed it.
            let is_same = |there: fs::Metadata| {
                file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
            };
            if fs::metadata(&path).is_ok_and(is_same) {
                let partial = Partial { file, path, blob: self.blob(digest), hash: Sha256::new(), length: 0 };
                return Ok(Some(partial.read()?));
            }
        }
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
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(self),
                read => {
                    self.hash.update(&buffer[..read]);
                    self.length += read as u64;
                }
            }
        }
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

    /// Makes it a whole part if it is the one with this digest, and forgets it otherwise. Returns whether it is.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn finish(self, digest: &ImageDigest) -> Result<bool> {
        let is_whole = digest_from(self.hash) == *digest;
        if is_whole {
            self.file.sync_all()?;
            fs::rename(&self.path, &self.blob)?;
        } else {
            fs::remove_file(&self.path)?;
        }
        Ok(is_whole)
    }

    /// Forgets what is here.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
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
        let mut named = NamedTempFile::new_in(store.root.join(PARTIAL))?;
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

/// Returns the digest of bytes.
pub fn digest_of(bytes: &[u8]) -> ImageDigest {
    digest_from(Sha256::new_with_prefix(bytes))
}

/// Returns the digest of everything that was hashed.
pub fn digest_from(hash: Sha256) -> ImageDigest {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match format!("sha256:{hex}").parse() {
        Ok(digest) => digest,
        Err(_) => unreachable!("32 bytes are 64 digits"),
    }
}
