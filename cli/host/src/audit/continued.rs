//! The first line of a file, which describes the files before it: what was dropped, and which remaining file
//! is the oldest.

use super::entry::{Entry, hash};
use super::read::lines;
use anyhow::Result;
use std::path::Path;

/// Lines that were rotated away. When there are too many files, the oldest one is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// The number of lines.
    pub lines: u64,
    /// When the first of them was written, in milliseconds since 1970.
    pub from_ms: u64,
    /// When the last of them was written, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What the first line of a file says about the files before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continued {
    /// All lines that have been dropped so far.
    pub gone: Gone,
    /// The hash of the last line that was dropped.
    pub hash: String,
    /// The number of the oldest remaining file.
    pub first_file: u32,
}

impl Continued {
    /// Reads a line, if it is the first line of a file that continues another.
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

    pub fn of_file(path: &Path) -> Option<Self> {
        let first = lines(path).ok()?.next()?.ok()?;
        Self::read(&serde_json::from_str(&first).ok()?)
    }

    /// Adds a file that is about to be dropped.
    pub fn add(&mut self, path: &Path) -> Result<()> {
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
