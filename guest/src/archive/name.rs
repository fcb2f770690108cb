//! Where an entry of an archive goes. Pure.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Why an entry has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is absolute, or has `..` in it.
    LeadsOut,
    /// It has no name.
    Nameless,
    /// It is beside the one thing that was asked for.
    Beside,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeadsOut => "its name leads out of where it is unpacked",
            Self::Nameless => "it has no name",
            Self::Beside => "more comes than what was asked for",
        })
    }
}

/// Where an entry with this path goes: a relative path of plain names. With `first`, the first of
/// them is that one, whatever the archive calls it; `root` is what the archive has called it so far,
/// and an entry that begins with something else is refused.
///
/// # Errors
/// Where it has no place.
pub fn placed(path: &Path, first: Option<&OsStr>, root: Option<&OsStr>) -> Result<PathBuf, Refused> {
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

/// Whether a link at `path` points to something in the folder that `path` begins in, whatever else
/// is there: it goes up only at its beginning, through folders that are no links, and not past the
/// first `fixed` names of the path.
///
/// A `..` after a name could be one of a link that leads elsewhere: it counts as leading out.
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
