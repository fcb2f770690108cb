//! What was read of a guest's files, kept where the guest can no longer change it.
//!
//! It is one file without a name: whatever happens to the process, nothing of it stays. Zeros take up no
//! space in it.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How much is read at once.
const BLOCK: usize = 1 << 16;

/// The contents of many files, one after the other.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    end: u64,
}

/// The content of one file, in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    at: u64,
    /// Its length, in bytes.
    pub len: u64,
    /// Its SHA-256.
    pub sum: [u8; 32],
}

/// The result of reading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It has the same bytes as the other file.
    Same,
    /// It has this content.
    Other(Content),
    /// It is larger than what may be read.
    TooMuch,
}

impl Snapshot {
    /// Makes an empty snapshot in a folder that only its owner can enter.
    ///
    /// # Errors
    /// Returns an error if no file can be made there.
    pub fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("look.{}", std::process::id()));
        let what = || path.display().to_string();
        let _ = std::fs::remove_file(&path);
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create_new(true).mode(0o600).open(&path).with_context(what)?;
        std::fs::remove_file(&path).with_context(what)?;
        Ok(Self { file, end: 0 })
    }

    /// Reads a file to its end, or up to `most` bytes, and keeps its content unless it is the same as the
    /// other file's.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if there is no room for its content.
    pub fn take(&mut self, file: &File, other: Option<&File>, most: u64) -> io::Result<Taken> {
        let at = self.end;
        let mut sum = Sha256::new();
        let (mut same, mut len) = (other.is_some(), 0_u64);
        let (mut block, mut beside) = (vec![0; BLOCK], vec![0; if other.is_some() { BLOCK } else { 0 }]);
        let mut file = file;
        loop {
            let read = read_full(&mut file, &mut block)?;
            let bytes = &block[..read];
            if same && let Some(mut other) = other {
                let read = read_full(&mut other, &mut beside)?;
                same = bytes == &beside[..read];
            }
            len += read as u64;
            if len > most {
                self.end = at;
                return Ok(Taken::TooMuch);
            }
            sum.update(bytes);
            write_block(&self.file, self.end, bytes)?;
            self.end += read as u64;
            if read < BLOCK {
                break;
            }
        }
        if same {
            self.end = at;
            return Ok(Taken::Same);
        }
        Ok(Taken::Other(Content { at, len, sum: sum.finalize().into() }))
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn forget(&mut self) -> io::Result<()> {
        self.end = 0;
        self.file.set_len(0)
    }

    /// Returns the first bytes of a content.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn read(&self, content: &Content, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(content.len.min(most)).map_err(io::Error::other)?];
        read_at(&self.file, content.at, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a content into an empty file, and checks that it is still what was read.
    ///
    /// # Errors
    /// Returns an error if the content cannot be written, or if it has changed.
    pub fn put(&self, content: &Content, to: &File) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let (mut sum, mut done) = (Sha256::new(), 0);
        while done < content.len {
            let len = usize::try_from(content.len - done).map_or(BLOCK, |left| left.min(BLOCK));
            read_at(&self.file, content.at + done, &mut block[..len])?;
            sum.update(&block[..len]);
            write_block(to, done, &block[..len])?;
            done += len as u64;
        }
        to.set_len(content.len)?;
        if <[u8; 32]>::from(sum.finalize()) != content.sum {
            return Err(io::Error::other("the copy of what was read has changed on disk"));
        }
        Ok(())
    }
}

/// Copies this many bytes of a file into an empty one. Holes stay holes.
pub fn copy_with_holes(from: &File, len: u64, to: &File) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < len {
        let Some((start, end)) = data(from, at, len)? else { break };
        at = start;
        while at < end {
            let want = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
            let read = from.read_at(&mut block[..want], at)?;
            if read == 0 {
                return to.set_len(len);
            }
            write_block(to, at, &block[..read])?;
            at += read as u64;
        }
    }
    to.set_len(len)
}

/// Returns the next part of a file that takes up space on disk, from `at` on, or `None` if there is none.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
fn data(file: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // The file system does not say.
        Err(_) => return Ok(Some((at, len))),
    };
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(len);
    Ok((start < len).then_some((start, end.min(len).max(start + 1))))
}

#[cfg(not(all(target_os = "linux", not(bottle_portable))))]
#[expect(clippy::unnecessary_wraps, reason = "as where the system can say it")]
fn data(_: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    Ok(Some((at, len)))
}

/// Writes a block, unless it is all zeros at the end of a file, where a hole means the same.
fn write_block(to: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.iter().all(|byte| *byte == 0) && at >= to.metadata()?.len() {
        return Ok(());
    }
    to.write_all_at(bytes, at)
}

/// Fills a buffer. Past the end of the file it is filled with zeros.
fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &mut &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
