//! Reads a log: its files, and its lines as they are written.

use super::entry::Entry;
use super::segments::segments;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A line of the log, or the text of a line that cannot be parsed.
pub type Line = Result<Entry, String>;

/// Returns the last line of a file, without its newline, and how many bytes of the file are whole lines.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn last_line(mut file: &File) -> std::io::Result<(Option<String>, u64)> {
    let (mut at, mut tail) = (file.seek(SeekFrom::End(0))?, Vec::new());
    // Read blocks backwards until there are two newlines or the beginning.
    while at > 0 && tail.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let from = at.saturating_sub(64 << 10);
        let mut block = vec![0; usize::try_from(at - from).unwrap_or(0)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut block)?;
        block.extend(tail);
        (at, tail) = (from, block);
    }
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((None, 0)) };
    let start = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = String::from_utf8_lossy(&tail[start..end]).into_owned();
    Ok((Some(line), at + end as u64 + 1))
}

/// Returns the lines of a file.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(file).split(b'\n').map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())))
}

/// Two logs of one bottle, merged by time.
#[derive(Debug)]
pub struct Merged([(Tail, Option<Line>); 2]);

impl Merged {
    /// Starts at the oldest line of both logs.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn new(log: &Path, decisions: &Path) -> Result<Self> {
        Ok(Self([(Tail::new(log)?, None), (Tail::new(decisions)?, None)]))
    }

    /// Returns the next line, or `None` if there is none yet.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        for (tail, next) in &mut self.0 {
            if next.is_none() {
                *next = tail.next_line()?;
            }
        }
        // A line that cannot be parsed has no time, and is shown in its place.
        let time = |line: &Option<Line>| match line {
            Some(Ok(entry)) => Some(entry.time_ms),
            Some(Err(_)) => Some(0),
            None => None,
        };
        let [(_, log), (_, decided)] = &mut self.0;
        let first = match (time(log), time(decided)) {
            (Some(log), Some(decided)) => log <= decided,
            (_, None) => true,
            (None, _) => false,
        };
        Ok(if first { log.take() } else { decided.take() })
    }
}

/// A log, read from its beginning and followed as it grows.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    older: std::vec::IntoIter<PathBuf>,
    file: Option<(BufReader<File>, u64)>,
    /// The start of a line that is not complete yet.
    begun: String,
}

impl Tail {
    /// Starts at the oldest line.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn new(path: &Path) -> Result<Self> {
        let older = segments(path)?.into_iter();
        Ok(Self { path: path.to_owned(), older, file: None, begun: String::new() })
    }

    /// Returns the next line, or `None` if there is none yet.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            if self.file.is_none() {
                let path = self.older.next().unwrap_or_else(|| self.path.clone());
                let Ok(file) = File::open(&path) else { return Ok(None) };
                let inode = file.metadata()?.ino();
                self.file = Some((BufReader::new(file), inode));
            }
            let Some((reader, inode)) = &mut self.file else { return Ok(None) };
            reader.read_line(&mut self.begun)?;
            if self.begun.ends_with('\n') {
                let line = std::mem::take(&mut self.begun);
                let line = line.trim_end_matches('\n');
                return Ok(Some(serde_json::from_str(line).map_err(|_| line.to_owned())));
            }
            // The growing file may have been set aside, so that another one has its name now.
            let grows =
                self.older.len() == 0 && fs::metadata(&self.path).is_ok_and(|now| now.ino() == *inode);
            if grows {
                return Ok(None);
            }
            self.file = None;
        }
    }
}
