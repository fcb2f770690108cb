//! The log on disk: one file that grows, and older ones beside it.
//!
//! A line is there whole or not at all: what a full disk cut off is taken back, and what a crash
//! cut off is taken back at the next start, which says so. Of older files the oldest is dropped where
//! there are too many; the first line of each file says what was, so that a gap is known as one.

use super::check::Gone;
use super::decisions::End;
use super::entry::{Entry, hash, now_ms};
use super::read::{last_line, lines, number, segments};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
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
    /// What was dropped so far.
    dropped: Continued,
    /// The last decision that is referred to.
    anchor: End,
}

/// What the first line of a file says of the files before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continued {
    /// All lines that were dropped, from the first one of all.
    pub gone: Gone,
    /// The hash of the last one.
    pub hash: String,
    /// The number of the oldest file that is left.
    pub first_file: u32,
}

impl Continued {
    /// What a line says, if it is such a line.
    pub fn read(entry: &Entry) -> Option<Self> {
        if entry.part != "audit" || entry.event != "continued" {
            return None;
        }
        let number = |field| entry.number(field).unwrap_or(0);
        Some(Self {
            gone: Gone {
                lines: number("gone"),
                from_ms: number("gone_from_ms"),
                until_ms: number("gone_until_ms"),
            },
            hash: entry.text("gone_hash").unwrap_or_default().to_owned(),
            first_file: u32::try_from(number("first_file")).ok()?,
        })
    }

    fn of_file(path: &Path) -> Option<Self> {
        let first = lines(path).ok()?.next()?.ok()?;
        Self::read(&serde_json::from_str(&first).ok()?)
    }

    /// Adds a file that is about to be dropped.
    fn add(&mut self, path: &Path) -> Result<()> {
        for line in lines(path)? {
            let line = line?;
            self.hash = hash(&line);
            self.gone.lines += 1;
            if let Ok(entry) = serde_json::from_str::<Entry>(&line) {
                if self.gone.from_ms == 0 {
                    self.gone.from_ms = entry.time_ms;
                }
                self.gone.until_ms = entry.time_ms;
            }
        }
        Ok(())
    }
}

impl Log {
    /// Opens the log at `path` and continues its chain. Files larger than `limit` bytes are put
    /// aside.
    ///
    /// # Errors
    /// Where a file cannot be opened or read.
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
        // A crash may have left files that were to be dropped, and are said to be gone.
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
            anchor: End::default(),
        };
        if torn > 0 {
            log.append("audit", "torn", &Map::from_iter([("bytes".to_owned(), torn.into())]))?;
        }
        Ok(log)
    }

    /// Refers to the last decision of another log, where it was not referred to before.
    ///
    /// # Errors
    /// Where the disk does not take the line.
    pub fn refer_to(&mut self, end: &End) -> std::io::Result<()> {
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
    /// Where the disk does not take it. Nothing of it is left then.
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

    /// Puts the file aside under the next number, and begins another. What is dropped is written
    /// down before it is: a crash in between leaves too much and never too little.
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

fn fields(details: Value) -> Map<String, Value> {
    match details {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// The name of an older file: `audit.000001.jsonl`. They are numbered from 1, for ever.
pub fn aside(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("{number:06}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::super::check::{Chain, Checked, check};
    use super::*;

    const LIMIT: u64 = 1500;

    fn line(log: &mut Log, number: u32) {
        log.append("test", "line", &Map::from_iter([("number".to_owned(), number.into())])).unwrap();
    }

    fn checked(path: &Path) -> Chain {
        check(path, &path.with_file_name("decisions.jsonl")).unwrap()
    }

    fn whole(path: &Path) -> Checked {
        match checked(path) {
            Chain::Whole(checked) => checked,
            broken @ Chain::Broken { .. } => panic!("{broken:?}"),
        }
    }

    #[test]
    fn the_chain_goes_on_through_files_that_are_put_aside_and_what_was_dropped_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut gone = None;
        for number in 0..250 {
            // Opened anew each time: a keeper that comes back continues the chain.
            line(&mut Log::open(&path, LIMIT).unwrap(), number);
            gone = whole(&path).gone;
        }
        let older = segments(&path).unwrap();
        assert_eq!(older.len(), KEPT);
        assert!(!aside(&path, 1).exists());
        let files = older.iter().chain([&path]);
        let text: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        let left = text.concat().matches("\"event\":\"line\"").count();
        let begun = usize::try_from(number(&path, older.last().unwrap()).unwrap()).unwrap();
        let gone = gone.unwrap();
        // Every line is there or known to be gone: those of ours, and one for each file but the first.
        let lines = whole(&path).lines;
        assert_eq!(usize::try_from(gone.lines).unwrap() + lines, 250 + begun);
        assert!(left < 250 && gone.from_ms > 0 && gone.from_ms <= gone.until_ms, "{gone:?}");
        assert!(older.iter().all(|path| fs::metadata(path).unwrap().len() <= LIMIT));

        // A file in the middle that is missing, or exchanged, is found.
        let middle = fs::read(&older[5]).unwrap();
        fs::remove_file(&older[5]).unwrap();
        assert!(matches!(checked(&path), Chain::Broken { .. }));
        fs::write(&older[5], fs::read(&older[4]).unwrap()).unwrap();
        assert!(matches!(checked(&path), Chain::Broken { .. }));
        fs::write(&older[5], middle).unwrap();
        assert_eq!(whole(&path).lines, lines);
        // The oldest file taken away looks like a rotation, and was none.
        let oldest = fs::read(&older[0]).unwrap();
        fs::remove_file(&older[0]).unwrap();
        assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
        fs::write(&older[0], oldest).unwrap();
        // All older ones missing is found, too.
        for path in &older {
            fs::remove_file(path).unwrap();
        }
        assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
    }

    #[test]
    fn a_crash_while_the_oldest_file_is_dropped_leaves_a_log_that_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut log = Log::open(&path, LIMIT).unwrap();
        let (mut number, mut dropped) = (0, Vec::new());
        while dropped.is_empty() {
            let first = fs::read(aside(&path, 1)).unwrap_or_default();
            line(&mut log, number);
            number += 1;
            if !aside(&path, 1).exists() && aside(&path, 2).exists() {
                dropped = first;
            }
        }
        fs::write(aside(&path, 1), dropped).unwrap();
        let before = whole(&path);
        line(&mut Log::open(&path, LIMIT).unwrap(), number);
        assert!(!aside(&path, 1).exists());
        assert_eq!(whole(&path).gone, before.gone);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_taken_back_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        line(&mut Log::open(&path, SEGMENT).unwrap(), 1);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_ms\":1,\"pa").unwrap();
        line(&mut Log::open(&path, SEGMENT).unwrap(), 2);
        assert_eq!(whole(&path).lines, 3);
        assert!(fs::read_to_string(&path).unwrap().contains("\"event\":\"torn\",\"bytes\":16"));
    }

    #[test]
    fn a_decision_that_is_cut_off_or_exchanged_is_missed_by_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (path, decisions) = (dir.path().join("audit.jsonl"), dir.path().join("decisions.jsonl"));
        let mut log = Log::open(&path, SEGMENT).unwrap();
        for rule in ["a.test", "b.test"] {
            let details = Map::from_iter([("rule".to_owned(), rule.into())]);
            let mut decided = super::super::decisions::Decisions::open(&decisions).unwrap();
            log.refer_to(&decided.append("rules", "allowed", &details).unwrap()).unwrap();
        }
        assert_eq!((whole(&path).lines, whole(&path).decisions), (2, 2));
        let text = fs::read_to_string(&decisions).unwrap();
        let first = text.lines().next().unwrap();
        fs::write(&decisions, format!("{first}\n")).unwrap();
        assert!(matches!(checked(&path), Chain::Broken { line: 2, .. }));
        fs::remove_file(&decisions).unwrap();
        assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
    }
}
