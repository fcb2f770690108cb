//! Opens folders from which no link leads out, as the commands need them: see [`bottle_guest::beneath`].

pub use bottle_guest::beneath::*;

use crate::defence::Defence;
use std::io;
use std::path::Path;

/// Opens a folder at a path that a person chose. No link below it is followed.
///
/// # Errors
/// Returns an error if there is no such folder.
pub fn open(path: &Path) -> io::Result<Folder> {
    Folder::open(path, links())
}

/// Returns how links below an opened folder are treated: they are refused.
#[cfg(debug_assertions)]
pub fn links() -> Links {
    if Defence::Beneath.stands() { Links::Refused } else { Links::Followed }
}

/// Returns how links below an opened folder are treated: they are refused.
#[cfg(not(debug_assertions))]
pub const fn links() -> Links {
    assert!(Defence::Beneath.stands());
    Links::Refused
}
