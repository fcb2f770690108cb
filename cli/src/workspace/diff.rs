//! A change, line by line.

use super::Copy;
use super::changes::{Change, What};
use super::tree::{Entry, open};
use anyhow::Result;
use bottle_core::visible;
use cap_std::fs::Dir;
use similar::TextDiff;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

/// The longest file that is compared line by line, in bytes.
const LONGEST: u64 = 1 << 20;

/// One side of a change.
enum Side {
    Absent,
    Text(String),
    Link(String),
    Other(String),
}

impl Copy {
    /// A change as a unified diff. What the guest wrote is shown with its control characters escaped.
    ///
    /// # Errors
    /// Where one of the two folders cannot be read.
    pub fn show(&self, change: &Change) -> Result<String> {
        let (ours, theirs) = (self.ours()?, self.theirs()?);
        let before = if change.what == What::Added { Side::Absent } else { side(&ours, &change.path)? };
        let after = if change.what == What::Deleted { Side::Absent } else { side(&theirs, &change.path)? };
        let name = visible::Line(&change.path.to_string_lossy()).to_string();
        let mut shown = format!("{change}\n");
        match (before, after) {
            (before @ (Side::Text(_) | Side::Absent), after @ (Side::Text(_) | Side::Absent)) => {
                let named = |side: &Side, letter: &str| match side {
                    Side::Absent => "/dev/null".to_owned(),
                    _ => format!("{letter}/{name}"),
                };
                let (old, new) = (named(&before, "a"), named(&after, "b"));
                let (before, after) = (before.text(), after.text());
                let diff = TextDiff::from_lines(&before, &after);
                write!(shown, "{}", diff.unified_diff().context_radius(3).header(&old, &new))?;
            }
            (before, after) => {
                for (sign, side) in [('-', before), ('+', after)] {
                    match side {
                        Side::Absent => {}
                        Side::Text(text) => writeln!(shown, "{sign} {} bytes of text", text.len())?,
                        Side::Link(target) => writeln!(shown, "{sign} a link to {target}")?,
                        Side::Other(what) => writeln!(shown, "{sign} {what}")?,
                    }
                }
            }
        }
        Ok(shown)
    }
}

impl Side {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            _ => String::new(),
        }
    }
}

fn side(dir: &Dir, path: &Path) -> Result<Side> {
    Ok(match Entry::at(dir, path) {
        Err(_) => Side::Absent,
        Ok(Entry::Folder) => Side::Other("a folder".to_owned()),
        Ok(Entry::Special) => Side::Other("neither file, folder nor link".to_owned()),
        Ok(Entry::Link(target)) => Side::Link(visible::Line(&target.to_string_lossy()).to_string()),
        Ok(Entry::File { len, .. }) if len > LONGEST => Side::Other(format!("a file of {len} bytes")),
        Ok(Entry::File { .. }) => {
            let mut bytes = Vec::new();
            open(dir, path)?.take(LONGEST).read_to_end(&mut bytes)?;
            let len = bytes.len();
            match String::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => Side::Text(visible::Block(&text).to_string()),
                _ => Side::Other(format!("{len} bytes that are no text")),
            }
        }
    })
}
