//! What the client has sent and the guest has not read yet.
//!
//! russh hands out more of a channel's window as soon as something arrives, whether or not anybody takes it. A channel whose
//! reader waits would hold up all others of its connection, and a guest decides when it reads. So everything is
//! taken at once: a little of it is kept in memory, and the rest in a file without a name, up to a limit.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// How much is kept in memory, in bytes.
const IN_MEMORY: usize = 4 << 20;
/// How much is kept at all, in bytes.
pub const MOST: u64 = 16 << 30;
/// How much is read back at once, in bytes.
const PIECE: usize = 64 << 10;

/// What waits, in the order in which it came.
#[derive(Debug)]
pub struct Backlog {
    folder: PathBuf,
    memory: VecDeque<Bytes>,
    held: usize,
    file: Option<Spilled>,
}

/// What waits in a file: from `read` to `written`. It came after everything in memory.
#[derive(Debug)]
struct Spilled {
    file: File,
    read: u64,
    written: u64,
}

impl Backlog {
    /// Returns an empty one, which keeps its file in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, memory: VecDeque::new(), held: 0, file: None }
    }

    /// Adds what came.
    ///
    /// # Errors
    /// Returns an error if it is too much, or if the disk does not take it.
    pub fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.file.is_none() && self.held + bytes.len() <= IN_MEMORY {
            self.held += bytes.len();
            self.memory.push_back(bytes);
            return Ok(());
        }
        let spilled = match &mut self.file {
            Some(spilled) => spilled,
            none => none.insert(Spilled { file: tempfile::tempfile_in(&self.folder)?, read: 0, written: 0 }),
        };
        if spilled.written - spilled.read + bytes.len() as u64 > MOST {
            return Err(io::Error::other(format!("the guest has not read {} GiB", MOST >> 30)));
        }
        spilled.file.write_all_at(&bytes, spilled.written)?;
        spilled.written += bytes.len() as u64;
        Ok(())
    }

    /// Takes the next part of what waits. It is empty if nothing does.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn pop(&mut self) -> io::Result<Bytes> {
        if let Some(bytes) = self.memory.pop_front() {
            self.held -= bytes.len();
            return Ok(bytes);
        }
        let Some(spilled) = &mut self.file else { return Ok(Bytes::new()) };
        let left = usize::try_from(spilled.written - spilled.read).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(PIECE)];
        spilled.file.read_exact_at(&mut piece, spilled.read)?;
        spilled.read += piece.len() as u64;
        if spilled.read == spilled.written {
            self.file = None;
        }
        Ok(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_taken_in_its_order_from_memory_and_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut backlog = Backlog::new(folder.path().to_owned());
        let (mut sent, mut taken, mut spilled) = (Vec::new(), Vec::new(), false);
        for round in 0..300_usize {
            let piece = vec![u8::try_from(round % 251).unwrap(); 40_000 + round];
            sent.extend_from_slice(&piece);
            backlog.push(piece.into()).unwrap();
            spilled |= backlog.file.is_some();
            // Part of the file is read, and then more is added to it.
            for _ in 0..if round == 149 { 120 } else { 0 } {
                taken.extend_from_slice(&backlog.pop().unwrap());
            }
            assert!(backlog.held <= IN_MEMORY);
        }
        assert!(spilled);
        loop {
            let piece = backlog.pop().unwrap();
            if piece.is_empty() {
                break;
            }
            taken.extend_from_slice(&piece);
        }
        assert!(taken == sent && backlog.file.is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_that_does_not_take_it_is_an_error() {
        let mut backlog = Backlog::new("/nowhere".into());
        backlog.push(vec![0; IN_MEMORY].into()).unwrap();
        assert!(backlog.push(vec![0].into()).is_err());
    }
}
