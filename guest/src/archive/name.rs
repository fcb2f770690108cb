//! Decides where an entry of an archive goes, based on names alone.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its path is absolute or contains `..`.
    LeadsOut,
    /// It has no name.
    Nameless,
    /// It is not part of the one thing that was requested.
    Beside,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeadsOut => "its name leads out of the folder that it is unpacked in",
            Self::Nameless => "it has no name",
            Self::Beside => "the archive has more than what was asked for",
        })
    }
}

/// Returns where an entry with this path goes, as a relative path of plain names. With `first`, that is the
/// first name, whatever the archive calls it. `root` is the name that the archive has used for it so far; an
/// entry that starts with another name is refused.
///
/// # Errors
/// Returns why the entry is refused.
pub fn destination(path: &Path, first: Option<&OsStr>, root: Option<&OsStr>) -> Result<PathBuf, Refused> {
    let mut placed = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if placed.as_os_str().is_empty() => {
                if root.is_some_and(|root| root != name) {
                    return Err(Refused::Beside);
                }
                placed.push(first.unwrap_or(name));
            }
            Component::Normal(name) => placed.push(name),
            Component::CurDir => {}
            _ => return Err(Refused::LeadsOut),
        }
    }
    if placed.as_os_str().is_empty() { Err(Refused::Nameless) } else { Ok(placed) }
}

/// Returns whether a link at `path` points into the folder in which `path` starts, whatever else is there.
/// Its target may go up only at its start, through folders that are not links, and not past the first `fixed`
/// names of the path.
///
/// A `..` after a name counts as leading out, because that name could be a link to somewhere else.
pub fn stays_inside(path: &Path, target: &Path, fixed: usize) -> bool {
    let Some(mut depth) = path.components().count().checked_sub(1 + fixed) else { return false };
    let mut has_gone_down = false;
    for part in target.components() {
        match part {
            Component::ParentDir if !has_gone_down && depth > 0 => depth -= 1,
            Component::Normal(_) => has_gone_down = true,
            Component::CurDir => {}
            _ => return false,
        }
    }
    !target.as_os_str().is_empty()
}
