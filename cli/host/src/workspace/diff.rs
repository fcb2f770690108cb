//! Shows a change line by line.

use super::changes::{Kept, What};
use super::copy::Copy;
use super::decide::Here;
use super::look::{Item, Look};
use super::tree::Entry;
use crate::beneath::{Folder, moment};
use crate::difference::Difference;
use anyhow::Result;
use bottle_core::visible::{Block, Bytes};
use similar::TextDiff;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest file that is compared line by line, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long to search for the shortest difference of one file before accepting a longer one.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for all files together.
const ALTOGETHER: Duration = Duration::from_secs(10);

/// One side of a change.
enum Side {
    Absent,
    Text(String),
    Other(String),
}

impl Copy {
    /// Shows each change as a unified diff, one after the other. In the guest's text, everything that could
    /// control a terminal is escaped.
    ///
    /// # Errors
    /// Returns an error if something cannot be read, or the error of `show`.
    pub fn show<E: From<anyhow::Error>>(
        &self,
        look: &Look,
        mut show: impl FnMut(String) -> Result<(), E>,
    ) -> Result<(), E> {
        self.show_some(look, |_| true, &mut show)
    }

    /// Shows each change in one line, and both sides of those that the project has changed as well.
    ///
    /// # Errors
    /// Returns an error as for [`Copy::show`].
    pub fn show_conflicts<E: From<anyhow::Error>>(
        &self,
        look: &Look,
        mut show: impl FnMut(String) -> Result<(), E>,
    ) -> Result<(), E> {
        self.show_some(look, |item| item.change.kept == Some(Kept::Conflict), &mut show)
    }

    fn show_some<E: From<anyhow::Error>>(
        &self,
        look: &Look,
        is_whole: impl Fn(&Item) -> bool,
        show: &mut impl FnMut(String) -> Result<(), E>,
    ) -> Result<(), E> {
        let ours = self.ours()?;
        let until = Instant::now() + ALTOGETHER;
        for (line, item, is_renamed) in look.rows() {
            if !is_whole(item) {
                show(format!("{line}\n"))?;
            } else if is_renamed {
                let modes = modes(item).map_or_else(String::new, |modes| format!("{modes}\n"));
                show(format!("{line}\n{modes}"))?;
            } else {
                let was = self.record.manifest.paths.get(&item.change.path);
                show(difference(&ours, look, item, was, until)?.to_string())?;
            }
        }
        Ok(())
    }

    /// Returns what differs at each changed path, in the order of [`Look::changes`], until the paths together
    /// have this many bytes.
    ///
    /// # Errors
    /// Returns an error if something cannot be read.
    pub fn differences(&self, look: &Look, most: usize) -> Result<Vec<Difference>> {
        let ours = self.ours()?;
        let until = Instant::now() + ALTOGETHER;
        let (mut found, mut len) = (Vec::new(), 0);
        for item in &look.items {
            let was = self.record.manifest.paths.get(&item.change.path);
            let one = difference(&ours, look, item, was, until)?;
            len += one.len();
            if len > most {
                break;
            }
            found.push(one);
        }
        Ok(found)
    }
}

fn difference(
    ours: &Folder,
    look: &Look,
    item: &Item,
    was: Option<&Entry>,
    until: Instant,
) -> Result<Difference> {
    let change = &item.change;
    let mut shown = Difference { title: look.line(change), ..Difference::default() };
    let is_conflict = change.kept == Some(Kept::Conflict);
    if change.kept.is_some_and(|why| why != Kept::Conflict) {
        return Ok(shown);
    }
    shown.notes.extend(modes(item));
    let before = if change.what == What::Added && item.here == Here::Nothing {
        Side::Absent
    } else {
        ours_at(ours, item)?
    };
    if is_conflict {
        let now = match &item.here {
            Here::Is(entry) => Some(entry),
            Here::Nothing | Here::Blocked => None,
        };
        shown.notes.push(format!("when it was copied: {}", described(was)));
        shown.notes.push(format!("in your project:    {}", described(now)));
        shown.notes.push(format!("in the guest:       {}", described(item.after.as_ref())));
    }
    let name = Bytes(change.path.as_os_str().as_bytes()).to_string();
    match (before, theirs_of(look, item)?) {
        (before @ (Side::Text(_) | Side::Absent), after @ (Side::Text(_) | Side::Absent)) => {
            let named = |side: &Side, letter: &str| match side {
                Side::Absent => "/dev/null".to_owned(),
                _ => format!("{letter}/{name}"),
            };
            let sides = if is_conflict { ("yours", "guest") } else { ("a", "b") };
            let (old, new) = (named(&before, sides.0), named(&after, sides.1));
            let (before, after) = (before.text(), after.text());
            let left = until.saturating_duration_since(Instant::now()).min(PATIENCE);
            let diff = TextDiff::configure().timeout(left).diff_lines(&before, &after);
            shown.compare(&diff, old, new);
        }
        (before, after) => {
            for (sign, side) in [('-', before), ('+', after)] {
                match side {
                    Side::Absent => {}
                    Side::Text(text) => shown.sides.push(format!("{sign} {} bytes of text", text.len())),
                    Side::Other(what) => shown.sides.push(format!("{sign} {what}")),
                }
            }
        }
    }
    Ok(shown)
}

/// Describes how a file's permissions change, if that matters.
fn modes(item: &Item) -> Option<String> {
    const EXECUTABLE: u32 = 0o111;
    let Some(Entry::File { mode, .. }) = &item.after else { return None };
    match &item.here {
        Here::Is(Entry::File { mode: ours, .. }) => {
            (ours != mode).then(|| format!("mode {ours:o} becomes {mode:o}"))
        }
        _ => (mode & EXECUTABLE != 0).then(|| format!("mode {mode:o}")),
    }
}

impl Side {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            _ => String::new(),
        }
    }

    fn of(entry: &Entry, read: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Self> {
        Ok(match entry {
            Entry::Folder => Self::Other("a folder".to_owned()),
            Entry::Special => Self::Other("neither file, folder nor link".to_owned()),
            Entry::TooDeep => Self::Other("a folder that is too deep".to_owned()),
            Entry::Unreadable => Self::Other("something that you may not read".to_owned()),
            Entry::Link(target) => Self::Other(link(target)),
            Entry::File { len, .. } if *len > LONGEST => Self::Other(format!("a file of {len} bytes")),
            Entry::File { .. } => {
                let bytes = read()?;
                let len = bytes.len();
                match String::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => Self::Text(Block(&text).to_string()),
                    _ => Self::Other(format!("{len} bytes that are not text (binary)")),
                }
            }
        })
    }
}

/// Describes one of the three sides of a conflict.
fn described(entry: Option<&Entry>) -> String {
    match entry {
        None => "nothing".to_owned(),
        Some(Entry::Folder) => "a folder".to_owned(),
        Some(Entry::Link(target)) => link(target),
        Some(Entry::File { mode, len, changed }) => {
            let when = moment(*changed).map_or_else(String::new, |time| {
                format!(", changed {}", humantime::format_rfc3339_seconds(time))
            });
            format!("a file of {len} bytes, mode {mode:o}{when}")
        }
        Some(_) => "neither file, folder nor link".to_owned(),
    }
}

fn link(target: &Path) -> String {
    format!("a link to {}", Bytes(target.as_os_str().as_bytes()))
}

/// Returns what the project has. A file that disappeared meanwhile counts as absent.
fn ours_at(ours: &Folder, item: &Item) -> io::Result<Side> {
    let found =
        ours.above(&item.change.path).and_then(|(above, name)| Ok((Entry::at(&above, name)?, above, name)));
    let Ok((entry, above, name)) = found else { return Ok(Side::Absent) };
    Side::of(&entry, || {
        let mut bytes = Vec::new();
        above.file(name)?.0.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Returns what was read of the guest's file.
fn theirs_of(look: &Look, item: &Item) -> io::Result<Side> {
    let Some(entry) = &item.after else { return Ok(Side::Absent) };
    match (entry, &item.content) {
        (Entry::File { .. }, Some(content)) if content.len > LONGEST => {
            Ok(Side::Other(format!("a file of {} bytes", content.len)))
        }
        (Entry::File { .. }, None) => Ok(Side::Other("a file that was not read".to_owned())),
        (Entry::File { mode, changed, .. }, Some(content)) => {
            let entry = Entry::File { mode: *mode, len: content.len, changed: *changed };
            Side::of(&entry, || look.snapshot.read(content, LONGEST))
        }
        (entry, _) => Side::of(entry, || Ok(Vec::new())),
    }
}
