//! Checks that a bottle's logs are as they were written.

use super::continued::{Continued, Gone};
use super::decisions::NUMBER;
use super::entry::{Entry, hash};
use super::read::lines;
use super::segments::{aside, number, segments};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The result of checking a bottle's logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every line follows from the one before it.
    Whole(Checked),
    /// A line is wrong.
    Broken {
        /// The file with the wrong line.
        file: PathBuf,
        /// The line's number, counted from 1.
        line: usize,
        /// What is wrong with the line, as the end of a sentence.
        why: &'static str,
    },
}

/// How much the logs contain, and how much is known to be gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The number of lines in the log.
    pub lines: usize,
    /// The number of decisions by operators.
    pub decisions: usize,
    /// The lines that were rotated away, if any were.
    pub gone: Option<Gone>,
}

const FOLLOWS: &str = "does not follow from the one before it";
const UNKNOWN: &str = "is not the decision that the log refers to";
const MISSING: &str = "is a decision that the log refers to, and it is gone";
const DROPPED: &str = "does not follow from what was rotated away";

/// Checks that no line was changed, removed or inserted: in the log, in the decisions, and where the log
/// refers to decisions or to lines that were rotated away.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn check(log: &Path, decisions: &Path) -> Result<Chain> {
    let decided = match decided(decisions)? {
        Ok(hashes) => hashes,
        Err(line) => return Ok(Chain::Broken { file: decisions.to_owned(), line, why: FOLLOWS }),
    };
    let older = segments(log)?;
    // If older files were rotated away, the line before the oldest remaining one is gone.
    let rotated = older.first().and_then(|first| number(log, first)).is_some_and(|number| number > 1);
    let (mut previous, mut count) = ((!rotated).then(String::new), 0);
    let (mut last, mut begins): (Option<Continued>, Vec<(PathBuf, String)>) = (None, Vec::new());
    for file in older.into_iter().chain(log.exists().then(|| log.to_owned())) {
        for (at, line) in lines(&file)?.enumerate() {
            let line = line?;
            let broken = |why| Ok(Chain::Broken { file: file.clone(), line: at + 1, why });
            let entry = match serde_json::from_str::<Entry>(&line) {
                Ok(entry) if previous.as_ref().is_none_or(|hash| entry.previous == *hash) => entry,
                _ => return broken(FOLLOWS),
            };
            if at == 0 {
                begins.push((file.clone(), entry.previous.clone()));
            }
            if entry.part == "audit" && matches!(entry.event.as_str(), "continued" | "decided") {
                let (number, wanted) = (entry.number("decisions").unwrap_or(0), entry.text("decisions_hash"));
                let known = number.checked_sub(1).and_then(|at| decided.get(usize::try_from(at).ok()?));
                match known {
                    None if number == 0 => {}
                    Some(hash) if Some(hash.as_str()) == wanted => {}
                    found => {
                        let why = if found.is_some() { UNKNOWN } else { MISSING };
                        let line = usize::try_from(number).unwrap_or(usize::MAX);
                        return Ok(Chain::Broken { file: decisions.to_owned(), line, why });
                    }
                }
            }
            last = Continued::read(&entry).or(last);
            previous = Some(hash(&line));
            count += 1;
        }
    }
    let dropped = last.filter(|last| last.first_file > 1);
    // The oldest remaining file must be the one at which the log says that it was cut.
    let cut = dropped.as_ref().map(|last| (aside(log, last.first_file), last.hash.clone()));
    let wrong = match &cut {
        Some((file, hash)) => !begins.iter().any(|(begins, previous)| begins == file && previous == hash),
        None => rotated,
    };
    if wrong {
        let file = begins.first().map_or_else(|| log.to_owned(), |(file, _)| file.clone());
        return Ok(Chain::Broken { file, line: 1, why: DROPPED });
    }
    Ok(Chain::Whole(Checked { lines: count, decisions: decided.len(), gone: dropped.map(|last| last.gone) }))
}

/// Returns the hash of each decision, or the number of the first wrong line.
fn decided(path: &Path) -> Result<Result<Vec<String>, usize>> {
    let mut hashes: Vec<String> = Vec::new();
    if !path.exists() {
        return Ok(Ok(hashes));
    }
    for line in lines(path)? {
        let line = line?;
        let (previous, number) = (hashes.last().cloned().unwrap_or_default(), hashes.len() as u64 + 1);
        let follows = |entry: &Entry| entry.previous == previous && entry.number(NUMBER) == Some(number);
        if !serde_json::from_str::<Entry>(&line).is_ok_and(|entry| follows(&entry)) {
            return Ok(Err(hashes.len() + 1));
        }
        hashes.push(hash(&line));
    }
    Ok(Ok(hashes))
}
