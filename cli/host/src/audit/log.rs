//! The log on disk: one file that grows, and older ones beside it.
//!
//! A line is either whole or absent. A line that a full disk cut off is removed at once. One that a crash cut
//! off is removed at the next start, which records that. When there are too many files, the oldest one is
//! dropped. The first line of each file says what was dropped, so that a gap is recognised as such.

use super::continued::Continued;
use super::decisions::LastDecision;
use super::entry::{Entry, fields, hash, now_ms};
use super::read::last_line;
use super::segments::{aside, number, segments};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How large a file grows before the next one begins, in bytes.
pub const SEGMENT: u64 = 8 << 20;
/// How many older files are kept beside the current one.
pub const KEPT: usize = 12;

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    previous: String,
    /// The lines that have been dropped so far.
    dropped: Continued,
    /// The last decision that the log refers to.
    anchor: LastDecision,
}

impl Log {
    /// Opens the log at `path` and continues its chain. A file that reaches `limit` bytes is set aside.
    ///
    /// # Errors
    /// Returns an error if a file cannot be opened or read.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        let file = open(path).with_context(|| path.display().to_string())?;
        let (last, whole) = last_line(&file).with_context(|| path.display().to_string())?;
        let torn = file.metadata()?.len() - whole;
        file.set_len(whole)?;
        let older = segments(path)?;
        let newest_older = older.last();
        let last = match (last, newest_older) {
            (None, Some(older)) => last_line(&File::open(older)?)?.0,
            (last, _) => last,
        };
        let dropped =
            Continued::of_file(path).or_else(|| Continued::of_file(newest_older?)).unwrap_or_default();
        // A crash may have left files that the log already calls dropped.
        for file in older.iter().filter(|file| number(path, file).is_some_and(|at| at < dropped.first_file)) {
            fs::remove_file(file)?;
        }
        let previous = last.map(|line| hash(&line)).unwrap_or_default();
        let mut log = Self {
            path: path.to_owned(),
            file,
            size: whole,
            limit,
            previous,
            dropped,
            anchor: LastDecision::default(),
        };
        if torn > 0 {
            log.append("audit", "torn", &Map::from_iter([("bytes".to_owned(), torn.into())]))?;
        }
        Ok(log)
    }

    /// Makes the log refer to the last decision, unless it does already.
    ///
    /// # Errors
    /// Returns an error if the disk does not take the line.
    pub fn refer_to(&mut self, end: &LastDecision) -> std::io::Result<()> {
        if *end == self.anchor || end.count == 0 {
            return Ok(());
        }
        let details = json!({ "decisions": end.count, "decisions_hash": end.hash });
        self.append("audit", "decided", &fields(details))?;
        self.anchor = end.clone();
        Ok(())
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Returns an error if the disk does not take the line, in which case nothing of it is left.
    pub fn append(&mut self, part: &str, event: &str, details: &Map<String, Value>) -> std::io::Result<()> {
        if self.size > 0 && self.size + self.line(part, event, details)?.len() as u64 > self.limit {
            self.begin_another()?;
        }
        self.put(part, event, details)
    }

    fn line(&self, part: &str, event: &str, details: &Map<String, Value>) -> std::io::Result<String> {
        let entry = Entry {
            time_ms: now_ms(),
            part: part.to_owned(),
            event: event.to_owned(),
            details: details.clone(),
            previous: self.previous.clone(),
        };
        Ok(serde_json::to_string(&entry)?)
    }

    fn put(&mut self, part: &str, event: &str, details: &Map<String, Value>) -> std::io::Result<()> {
        let mut line = self.line(part, event, details)?;
        let hash = hash(&line);
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += line.len() as u64;
        self.previous = hash;
        Ok(())
    }

    /// Sets the file aside under the next number and starts another. What is to be dropped is recorded first,
    /// so a crash in between leaves too much, never too little.
    fn begin_another(&mut self) -> std::io::Result<()> {
        let older = segments(&self.path)?;
        let last = older.last().and_then(|path| number(&self.path, path)).unwrap_or(0);
        let (drop, keep) = older.split_at((older.len() + 1).saturating_sub(KEPT));
        let mut dropped = self.dropped.clone();
        for path in drop {
            dropped.add(path).map_err(std::io::Error::other)?;
        }
        dropped.first_file = keep.first().and_then(|path| number(&self.path, path)).unwrap_or(last + 1);
        fs::rename(&self.path, aside(&self.path, last + 1))?;
        self.file = open(&self.path)?;
        (self.size, self.dropped) = (0, dropped);
        let Continued { gone, hash, first_file } = &self.dropped;
        let details = json!({
            "gone": gone.lines, "gone_from_ms": gone.from_ms, "gone_until_ms": gone.until_ms,
            "gone_hash": hash, "first_file": first_file,
            "decisions": self.anchor.count, "decisions_hash": self.anchor.hash,
        });
        self.put("audit", "continued", &fields(details))?;
        drop.iter().try_for_each(fs::remove_file)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}
