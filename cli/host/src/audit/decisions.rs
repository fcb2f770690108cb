//! The operator's decisions: a separate log with its own chain.
//!
//! A guest cannot cause a line here, and so cannot push one out: the file is never rotated or dropped. The
//! keeper or command that decides also writes the line, under the file's lock and through to the disk, before
//! it goes on.

use super::entry::{Entry, cut, fields, hash, now_ms};
use super::read::last_line;
use crate::state::Folder;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The field with a decision's number, counted from 1.
pub const NUMBER: &str = "decision";
/// The longest text in a decision's line, in bytes: enough for everything that can be shown to a person.
const MAX_TEXT: usize = 32 << 10;
/// How often the lock is tried.
const TRIES: u32 = 200;
/// How long to wait in between. Another decision takes milliseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// The last decision of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastDecision {
    /// Its number, which is also the number of decisions.
    pub count: u64,
    /// Its hash.
    pub hash: String,
}

/// A log of decisions.
#[derive(Debug)]
pub struct Decisions(File);

impl Decisions {
    /// Opens the log at `path`, or creates it.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        Ok(Self(options.open(path).with_context(|| path.display().to_string())?))
    }

    /// Writes a decision through to the disk.
    ///
    /// # Errors
    /// Returns an error if the disk does not take the line, in which case nothing of it is left, or if
    /// another writer holds the file for too long.
    pub fn append(
        &mut self,
        part: &str,
        event: &str,
        details: &Map<String, Value>,
    ) -> std::io::Result<LastDecision> {
        let mut file = Locked::new(&self.0)?;
        let (last, whole) = last_line(file.0)?;
        // A decision that a crash cut off does not count: nobody was told that it was made.
        file.0.set_len(whole)?;
        let mut details = details.clone();
        cut(&mut details, MAX_TEXT);
        let count = last.as_deref().and_then(number).unwrap_or(0) + 1;
        details.insert(NUMBER.to_owned(), count.into());
        let entry = Entry {
            time_ms: now_ms(),
            part: part.to_owned(),
            event: event.to_owned(),
            details,
            previous: last.map(|line| hash(&line)).unwrap_or_default(),
        };
        let mut line = serde_json::to_string(&entry)?;
        let hash = hash(&line);
        line.push('\n');
        if let Err(error) = file.0.write_all(line.as_bytes()).and_then(|()| file.0.sync_data()) {
            let _ = file.0.set_len(whole);
            return Err(error);
        }
        Ok(LastDecision { count, hash })
    }

    /// Returns the last decision.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if another writer holds it for too long.
    pub fn last(&self) -> std::io::Result<LastDecision> {
        let file = Locked::new(&self.0)?;
        let (last, _) = last_line(file.0)?;
        let end = last.map(|line| LastDecision { count: number(&line).unwrap_or(0), hash: hash(&line) });
        Ok(end.unwrap_or_default())
    }
}

/// Records an operator's decision, whether or not the bottle's keeper is alive. `part` and `event` are words
/// that we chose, and `details` is an object.
///
/// # Errors
/// Returns an error if the decision cannot be recorded. It must not be carried out then.
pub fn decided(folder: &Folder, part: &str, event: &str, details: Value) -> Result<()> {
    let path = folder.decisions();
    let mut decisions = Decisions::open(&path)?;
    decisions.append(part, event, &fields(details)).with_context(|| path.display().to_string())?;
    Ok(())
}

fn number(line: &str) -> Option<u64> {
    serde_json::from_str::<Entry>(line).ok()?.number(NUMBER)
}

/// The file, locked for one writer.
struct Locked<'f>(&'f File);

impl<'f> Locked<'f> {
    fn new(file: &'f File) -> std::io::Result<Self> {
        for _ in 0..TRIES {
            match flock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Err(std::io::Error::new(ErrorKind::TimedOut, "another process holds the log of decisions"))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
