//! Shows a change line by line.

use super::changes::{Kept, What};
use super::copy::Copy;
use super::decide::Here;
use super::look::{Item, Look};
use super::tree::Entry;
use crate::beneath::Folder;
use anyhow::Result;
use bottle_core::visible::{Block, Bytes};
use similar::TextDiff;
use std::fmt::Write;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest file that is compared line by line, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long to look for the shortest difference before accepting a longer one: for one file, and for all of
/// them together.
const PATIENCE: Duration = Duration::from_secs(1);
const ALTOGETHER: Duration = Duration::from_secs(10);

/// One side of a change.
enum Side {
    Absent,
    Text(String),
    Other(String),
}

impl Copy {
    /// Shows each change as a unified diff, one after the other. In what the guest wrote, everything that
    /// could control a terminal is escaped.
    ///
    /// # Errors
    /// Returns an error if something cannot be read, or the error of `show`.
    pub fn show<E: From<anyhow::Error>>(
        &self,
        look: &Look,
        mut show: impl FnMut(String) -> Result<(), E>,
    ) -> Result<(), E> {
        let ours = self.ours()?;
        let until = Instant::now() + ALTOGETHER;
        for item in &look.items {
            show(shown(&ours, look, item, until)?)?;
        }
        Ok(())
    }
}

fn shown(ours: &Folder, look: &Look, item: &Item, until: Instant) -> Result<String> {
    let change = &item.change;
    let mut shown = format!("{change}\n");
    if change.kept.is_some_and(|why| why != Kept::Conflict) {
        return Ok(shown);
    }
    if let Some(modes) = modes(item) {
        writeln!(shown, "{modes}")?;
    }
    let before = if change.what == What::Added && item.here == Here::Nothing {
        Side::Absent
    } else {
        ours_at(ours, item)?
    };
    let name = Bytes(change.path.as_os_str().as_bytes()).to_string();
    match (before, theirs_of(look, item)?) {
        (before @ (Side::Text(_) | Side::Absent), after @ (Side::Text(_) | Side::Absent)) => {
            let named = |side: &Side, letter: &str| match side {
                Side::Absent => "/dev/null".to_owned(),
                _ => format!("{letter}/{name}"),
            };
            let (old, new) = (named(&before, "a"), named(&after, "b"));
            let (before, after) = (before.text(), after.text());
            let left = until.saturating_duration_since(Instant::now()).min(PATIENCE);
            let diff = TextDiff::configure().timeout(left).diff_lines(&before, &after);
            write!(shown, "{}", diff.unified_diff().context_radius(3).header(&old, &new))?;
        }
        (before, after) => {
            for (sign, side) in [('-', before), ('+', after)] {
                match side {
                    Side::Absent => {}
                    Side::Text(text) => writeln!(shown, "{sign} {} bytes of text", text.len())?,
                    Side::Other(what) => writeln!(shown, "{sign} {what}")?,
                }
            }
        }
    }
    Ok(shown)
}

/// Describes how a file's permissions change, if that is worth knowing.
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
            Entry::Link(target) => Self::Other(link(target)),
            Entry::File { len, .. } if *len > LONGEST => Self::Other(format!("a file of {len} bytes")),
            Entry::File { .. } => {
                let bytes = read()?;
                let len = bytes.len();
                match String::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => Self::Text(Block(&text).to_string()),
                    _ => Self::Other(format!("{len} bytes that are not text")),
                }
            }
        })
    }
}

fn link(target: &Path) -> String {
    format!("a link to {}", Bytes(target.as_os_str().as_bytes()))
}

/// Returns what the project has. What disappeared meanwhile is absent.
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
