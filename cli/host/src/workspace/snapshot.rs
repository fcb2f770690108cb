//! What was read of a guest's files, kept where the guest can no longer change it.
//!
//! It is one file without a name, so nothing of it remains, whatever happens to the process. Zeros take up no
//! space in it, and a hole in a guest's file is not read: it costs no time, however large it is.

use crate::beneath::data;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How many bytes are read at once.
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
    /// Its [`Sum`].
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
    /// Creates an empty snapshot in a folder that only its owner can enter.
    ///
    /// # Errors
    /// Returns an error if no file can be created there.
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

    /// Reads a file, unless it is longer than `most` bytes, and keeps its content, unless it equals the other
    /// file's.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if there is no space for its content.
    pub fn take(&mut self, file: &File, other: Option<&File>, most: u64) -> io::Result<Taken> {
        // Anything that is added or cut off from now on is not seen.
        let len = file.metadata()?.len();
        if len > most {
            return Ok(Taken::TooMuch);
        }
        let other = match other {
            Some(other) if other.metadata()?.len() == len => Some(other),
            _ => None,
        };
        // Contents start at a block boundary, so that a hole can be a hole here, too.
        let at = self.end.next_multiple_of(BLOCK as u64);
        let (mut sum, mut same) = (Sum::new(), other.is_some());
        let mut beside = vec![0; if same { BLOCK } else { 0 }];
        blocks(&[Some(file), other], len, |start, bytes| {
            if let Some(other) = other.filter(|_| same) {
                let beside = &mut beside[..bytes.len()];
                read_at(other, start, beside)?;
                same = bytes == beside;
            }
            if sum.add(start, bytes) {
                self.file.write_all_at(bytes, at + start)?;
            }
            Ok(())
        })?;
        if same {
            // Drop what was written. Otherwise the next content would have these bytes where it has a hole.
            self.file.set_len(self.end)?;
            return Ok(Taken::Same);
        }
        self.end = at + len;
        Ok(Taken::Other(Content { at, len, sum: sum.of(len) }))
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn forget(&mut self) -> io::Result<()> {
        self.end = 0;
        self.file.set_len(0)
    }

    /// Returns the first bytes of a content, at most `most`.
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
        let (mut sum, mut done) = (Sum::new(), 0);
        while let Some((start, _)) = data(&self.file, content.at + done, content.at + content.len)? {
            done = (start - content.at) / BLOCK as u64 * BLOCK as u64;
            let bytes = &mut block[..length(content.len - done)];
            read_at(&self.file, content.at + done, bytes)?;
            if sum.add(done, bytes) {
                to.write_all_at(bytes, done)?;
            }
            done += bytes.len() as u64;
        }
        to.set_len(content.len)?;
        if sum.of(content.len) != content.sum {
            return Err(io::Error::other("the copy of what was read has changed on disk"));
        }
        Ok(())
    }
}

/// Identifies a content, whichever of its zeros are holes. It is the SHA-256 of every block that is not all
/// zeros, with its position, and of the length.
pub struct Sum(Sha256);

impl Sum {
    /// Starts a sum without any blocks.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds the block at position `at`. Returns false if it is all zeros.
    fn add(&mut self, at: u64, bytes: &[u8]) -> bool {
        let counts = bytes.iter().any(|byte| *byte != 0);
        if counts {
            self.0.update(at.to_be_bytes());
            self.0.update((bytes.len() as u64).to_be_bytes());
            self.0.update(bytes);
        }
        counts
    }

    /// Returns the sum of a content of this length.
    fn of(mut self, len: u64) -> [u8; 32] {
        self.0.update(len.to_be_bytes());
        self.0.finalize().into()
    }

    /// Returns the sum of a file of this length.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn of_file(file: &File, len: u64) -> io::Result<[u8; 32]> {
        let mut sum = Self::new();
        blocks(&[Some(file), None], len, |at, bytes| {
            sum.add(at, bytes);
            Ok(())
        })?;
        Ok(sum.of(len))
    }
}

/// Returns whether two files have the same content. Where both have a hole, nothing is read.
///
/// # Errors
/// Returns an error if one of them cannot be read.
pub fn is_same(first: &File, second: &File) -> io::Result<bool> {
    let len = first.metadata()?.len();
    if second.metadata()?.len() != len {
        return Ok(false);
    }
    let (mut same, mut beside) = (true, vec![0; BLOCK]);
    let visited = blocks(&[Some(first), Some(second)], len, |at, bytes| {
        let beside = &mut beside[..bytes.len()];
        read_at(second, at, beside)?;
        same = bytes == beside;
        // The rest need not be read.
        if same { Ok(()) } else { Err(ErrorKind::Interrupted.into()) }
    });
    if same { visited.map(|()| true) } else { Ok(false) }
}

/// Returns how much of the rest of a content is read at once.
fn length(rest: u64) -> usize {
    usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK))
}

/// Calls `visit` with the position and bytes of each block of the first file, except where both files have a
/// hole.
fn blocks(
    files: &[Option<&File>; 2],
    len: u64,
    mut visit: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    let Some(first) = files[0] else { return Ok(()) };
    while at < len {
        let mut next = None;
        for file in files.iter().copied().flatten() {
            let start = data(file, at, len)?.map(|(start, _)| start);
            next = start.into_iter().chain(next).min();
        }
        let Some(next) = next else { break };
        at = next - next % BLOCK as u64;
        let bytes = &mut block[..length(len - at)];
        read_at(first, at, bytes)?;
        visit(at, bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Copies this many bytes of a file into an empty one. Holes stay holes. What was cut off meanwhile is zeros.
///
/// # Errors
/// Returns an error if the file cannot be read, or if there is no space.
pub fn copy_with_holes(from: &File, len: u64, to: &File) -> io::Result<()> {
    let mut at = 0;
    let has_holes = from.metadata()?.blocks() * 512 < len;
    while at < len {
        let extent = if has_holes { data(from, at, len)? } else { Some((at, len)) };
        let Some((start, end)) = extent else { break };
        at = copy_extent(from, start, end, to)?;
        if at < end {
            break;
        }
    }
    if at == len { Ok(()) } else { to.set_len(len) }
}

/// Copies the bytes between two positions to the same positions. Returns where the file ended, if that was
/// sooner.
fn copy_extent(from: &File, start: u64, end: u64, to: &File) -> io::Result<u64> {
    let mut at = in_kernel(from, start, end, to)?;
    let mut block = vec![0; if at < end { BLOCK } else { 0 }];
    while at < end {
        let read = from.read_at(&mut block[..length(end - at)], at)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&block[..read], at)?;
        at += read as u64;
    }
    Ok(at)
}

/// Copies like [`copy_extent`] without the detour through this process, and where the file system can share
/// the blocks, without a copy. Returns how far it came: not at all where the two files are too different.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
fn in_kernel(from: &File, start: u64, end: u64, to: &File) -> io::Result<u64> {
    use rustix::io::Errno;
    let (mut at, mut there) = (start, start);
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut there), left) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => return Err(error.into()),
            // A file system, or a pair of them, that cannot do it.
            Err(_) => break,
        }
    }
    Ok(at)
}

#[cfg(not(all(target_os = "linux", not(bottle_portable))))]
fn in_kernel(_: &File, start: u64, _: u64, _: &File) -> io::Result<u64> {
    Ok(start)
}

/// Fills a buffer. Anything past the end of the file is read as zeros.
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
