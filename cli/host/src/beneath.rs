//! Folders that nothing leads out of, as the commands open them: see [`bottle_guest::beneath`].

pub use bottle_guest::beneath::*;

use crate::defence::Defence;
use std::io;
use std::path::Path;

/// Opens a folder by a path that a person chose. No link below it is followed.
///
/// # Errors
/// Where there is no such folder.
pub fn open(path: &Path) -> io::Result<Folder> {
    Folder::open(path, links())
}

/// What is done with links below a folder that is opened: they are refused.
#[cfg(debug_assertions)]
pub fn links() -> Links {
    if Defence::Beneath.stands() { Links::Refused } else { Links::Followed }
}

/// What is done with links below a folder that is opened: they are refused.
#[cfg(not(debug_assertions))]
pub const fn links() -> Links {
    assert!(Defence::Beneath.stands());
    Links::Refused
}
