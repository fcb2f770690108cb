//! A guest's output in a file, up to a limit.

use super::result::Output;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much of each stream is kept by default, in bytes.
pub const MOST: u64 = 64 << 20;

/// Counts what came of a stream.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    kept: AtomicU64,
}

impl Tally {
    /// Returns the counts so far.
    pub fn so_far(&self) -> Output {
        Output { written: self.written.load(Relaxed), kept: self.kept.load(Relaxed) }
    }
}

/// Keeps the first bytes of a stream. The rest is dropped and counted: a guest that is not read from would wait, and the
/// command would never end.
pub struct Bounded {
    file: File,
    left: u64,
    tally: Arc<Tally>,
}

impl Bounded {
    /// Keeps at most `most` bytes in this file.
    pub fn new(file: File, most: u64, tally: Arc<Tally>) -> Self {
        Self { file, left: most, tally }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tally.written.fetch_add(bytes.len() as u64, Relaxed);
        let keep = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        match self.file.write_all(&bytes[..keep]) {
            Ok(()) => {
                self.left -= keep as u64;
                self.tally.kept.fetch_add(keep as u64, Relaxed);
            }
            // The disk is full, say. The counts tell.
            Err(_) => self.left = 0,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_and_all_are_counted() {
        let room = tempfile::tempdir().unwrap();
        let (path, tally) = (room.path().join("out"), Arc::new(Tally::default()));
        let mut out = Bounded::new(File::create(&path).unwrap(), 5, Arc::clone(&tally));
        out.write_all(b"abc").unwrap();
        out.write_all(b"defghi").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcde");
        assert_eq!(tally.so_far(), Output { written: 9, kept: 5 });
        let mut full = Bounded::new(File::create("/dev/full").unwrap(), 5, Arc::new(Tally::default()));
        assert_eq!(full.write(b"abc").unwrap(), 3);
    }
}
