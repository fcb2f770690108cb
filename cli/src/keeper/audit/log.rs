//! The log on disk: one file that grows, and older ones beside it.
//!
//! A line is there whole or not at all: what a full disk cut off is taken back, and what a crash
//! cut off is taken back at the next start, which says so.

use super::entry::{Entry, hash, now_ms};
use super::read::{last_line, segments};
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How large a file grows before the next one is begun, in bytes.
pub const SEGMENT: u64 = 8 << 20;
/// How many older files are kept beside the one that grows.
pub const KEPT: usize = 12;

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    previous: String,
}

impl Log {
    /// Opens the log at `path` and continues its chain. Files larger than `limit` bytes are put
    /// aside.
    ///
    /// # Errors
    /// Where a file cannot be opened or read.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        let file = open(path).with_context(|| path.display().to_string())?;
        let (last, whole) = last_line(path)?;
        let size = file.metadata()?.len();
        let torn = size - whole;
        file.set_len(whole)?;
        let last = match last {
            Some(line) => Some(line),
            None => {
                segments(path)?.last().map(|older| last_line(older)).transpose()?.and_then(|(line, _)| line)
            }
        };
        let previous = last.map(|line| hash(&line)).unwrap_or_default();
        let mut log = Self { path: path.to_owned(), file, size: whole, limit, previous };
        if torn > 0 {
            log.append("audit", "torn", Map::from_iter([("bytes".to_owned(), torn.into())]))?;
        }
        Ok(log)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Where the disk does not take it. Nothing of it is left then.
    pub fn append(&mut self, part: &str, event: &str, details: Map<String, Value>) -> std::io::Result<()> {
        let entry = Entry {
            time_ms: now_ms(),
            part: part.to_owned(),
            event: event.to_owned(),
            details,
            previous: self.previous.clone(),
        };
        let mut line = serde_json::to_string(&entry)?;
        let hash = hash(&line);
        line.push('\n');
        if self.size > 0 && self.size + line.len() as u64 > self.limit {
            self.begin_another()?;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += line.len() as u64;
        self.previous = hash;
        Ok(())
    }

    /// Puts the file aside under the next number, and begins another.
    fn begin_another(&mut self) -> std::io::Result<()> {
        let older = segments(&self.path)?;
        let last = older.last().and_then(|path| super::read::number(&self.path, path)).unwrap_or(0);
        fs::rename(&self.path, aside(&self.path, last + 1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        for path in older.iter().take((older.len() + 1).saturating_sub(KEPT)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The name of an older file: `audit.000001.jsonl`. They are numbered from 1, for ever.
pub fn aside(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("{number:06}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::super::read::{Chain, check};
    use super::*;

    fn line(log: &mut Log, number: u32) {
        log.append("test", "line", Map::from_iter([("number".to_owned(), number.into())])).unwrap();
    }

    #[test]
    fn the_chain_goes_on_through_files_that_are_put_aside_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        for number in 0..200 {
            // Opened anew each time: a keeper that comes back continues the chain.
            line(&mut Log::open(&path, 1000).unwrap(), number);
        }
        let older = segments(&path).unwrap();
        assert_eq!(older.len(), KEPT);
        assert!(!aside(&path, 1).exists());
        let Chain::Whole(lines) = check(&path).unwrap() else { panic!("{:?}", check(&path)) };
        assert!((60..200).contains(&lines), "{lines}");
        assert!(older.iter().all(|path| fs::metadata(path).unwrap().len() <= 1000));

        // A file in the middle that is missing, or exchanged, is found.
        let middle = fs::read(&older[5]).unwrap();
        fs::remove_file(&older[5]).unwrap();
        assert!(matches!(check(&path).unwrap(), Chain::Broken { .. }));
        fs::write(&older[5], fs::read(&older[4]).unwrap()).unwrap();
        assert!(matches!(check(&path).unwrap(), Chain::Broken { .. }));
        fs::write(&older[5], middle).unwrap();
        assert_eq!(check(&path).unwrap(), Chain::Whole(lines));
        // All older ones missing is found, too: the first line of all follows from nothing.
        for path in &older {
            fs::remove_file(path).unwrap();
        }
        assert!(matches!(check(&path).unwrap(), Chain::Broken { line: 1, .. }));
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_taken_back_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        line(&mut Log::open(&path, SEGMENT).unwrap(), 1);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_ms\":1,\"pa").unwrap();
        line(&mut Log::open(&path, SEGMENT).unwrap(), 2);
        assert_eq!(check(&path).unwrap(), Chain::Whole(3));
        assert!(fs::read_to_string(&path).unwrap().contains("\"event\":\"torn\",\"bytes\":16"));
    }
}
