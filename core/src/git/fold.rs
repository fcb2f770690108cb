//! How the least careful file system compares names.
//!
//! A name is looked at here, and its file is made elsewhere, on a file system that nobody here knows: one
//! that folds case, one that ignores invisible characters (HFS+), one that drops dots and blanks at the
//! end, cuts at a colon and takes a backslash for a slash (NTFS). Two names that any of them takes for
//! the same have the same form here.

use crate::visible::is_hidden;
use alloc::string::String;

/// Splits a path into its parts, each as that file system compares it. A part may be empty.
pub(super) fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split(['/', '\\']).map(fold)
}

fn fold(part: &str) -> String {
    let part = part.split(':').next().unwrap_or_default();
    let seen = part.chars().filter(|c| !is_hidden(*c) && !matches!(c, '\u{fe0e}' | '\u{fe0f}'));
    // Upper and then lower case: what differs by case alone is the same afterwards, as U+017F and "s"
    // or the dotless i and "i". A Turkish capital I leaves its dot behind.
    let mut folded: String =
        seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).filter(|c| *c != '\u{307}').collect();
    folded.truncate(folded.trim_end_matches(['.', ' ']).len());
    folded
}
