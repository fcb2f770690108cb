//! Reading a log: all of it, its chain, or what comes.

use super::entry::{Entry, hash};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A line of the log, or the text that is none.
pub type Line = Result<Entry, String>;

/// The older files of a log, in the order in which they were written.
///
/// # Errors
/// Where the folder cannot be read.
pub fn segments(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found: Vec<(u32, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((number(path, &entry.path())?, entry.path()))).collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Which of the older files of the log at `path` this is.
pub fn number(path: &Path, older: &Path) -> Option<u32> {
    let name = older.file_name()?.to_str()?;
    let stem = path.file_stem()?.to_str()?;
    name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".jsonl")?.parse().ok()
}

/// The last line of a file, without its newline, and how many bytes of the file are whole lines.
pub fn last_line(path: &Path) -> Result<(Option<String>, u64)> {
    let read = || -> std::io::Result<_> {
        let mut file = File::open(path)?;
        let (mut at, mut tail) = (file.seek(SeekFrom::End(0))?, Vec::new());
        // Backwards in blocks, until there are two newlines or the beginning.
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
    };
    read().with_context(|| path.display().to_string())
}

fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(file).split(b'\n').map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())))
}

/// What a check of a log's chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every line follows from the one before it; so many there are.
    Whole(usize),
    /// This line of this file, counted from 1, does not follow from the one before it.
    Broken {
        /// The file.
        file: PathBuf,
        /// Its line.
        line: usize,
    },
}

/// Checks that no line of a log was changed, taken out or put in. What was cut off at the end
/// cannot be seen from the files alone, and neither can older files that were dropped in their
/// order: what remains says that they were there.
///
/// # Errors
/// Where a file cannot be read.
pub fn check(path: &Path) -> Result<Chain> {
    let older = segments(path)?;
    let dropped = older.first().and_then(|first| number(path, first)).is_some_and(|number| number > 1);
    // The oldest line that is left follows from one that nobody has any more.
    let (mut previous, mut count) = ((!dropped).then(String::new), 0);
    for file in older.into_iter().chain(path.exists().then(|| path.to_owned())) {
        for (at, line) in lines(&file)?.enumerate() {
            let line = line?;
            let follows = |entry: &Entry| previous.as_ref().is_none_or(|hash| entry.previous == *hash);
            if !serde_json::from_str::<Entry>(&line).is_ok_and(|entry| follows(&entry)) {
                return Ok(Chain::Broken { file, line: at + 1 });
            }
            previous = Some(hash(&line));
            count += 1;
        }
    }
    Ok(Chain::Whole(count))
}

/// A log, read from its beginning and on.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    older: std::vec::IntoIter<PathBuf>,
    file: Option<(BufReader<File>, u64)>,
    /// The beginning of a line whose end is not written yet.
    begun: String,
}

impl Tail {
    /// Begins with the oldest line.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn new(path: &Path) -> Result<Self> {
        let older = segments(path)?.into_iter();
        Ok(Self { path: path.to_owned(), older, file: None, begun: String::new() })
    }

    /// The next line, if there is one now.
    ///
    /// # Errors
    /// Where a file cannot be read.
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
            // The one that grows may have been put aside, and then another has its name.
            let grows =
                self.older.len() == 0 && fs::metadata(&self.path).is_ok_and(|now| now.ino() == *inode);
            if grows {
                return Ok(None);
            }
            self.file = None;
        }
    }
}
