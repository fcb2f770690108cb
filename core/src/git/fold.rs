//! Compares names as the least careful file system would.
//!
//! A name is checked here, but its file is made elsewhere, on an unknown file system. That one may fold case,
//! ignore invisible characters (HFS+), or drop dots and spaces at the end, cut a name at a colon and take a
//! backslash for a slash (NTFS). If any of them takes two names for the same, they have the same form here.

use crate::visible::is_hidden;
use alloc::string::String;

/// Splits a path into its parts, each as that file system compares it. A part may be empty.
pub(super) fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split(['/', '\\']).map(fold)
}

/// Returns a name without the dots and spaces at its end, if that is all there is to fold but its case: it is of printable
/// ASCII, and one part. Most names are, and a large project has many.
pub(super) fn plain(name: &[u8]) -> Option<&str> {
    let is_plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'\\' | b':');
    let text = core::str::from_utf8(name).ok().filter(|text| text.bytes().all(is_plain))?;
    Some(text.trim_end_matches(['.', ' ']))
}

fn fold(part: &str) -> String {
    let part = part.split(':').next().unwrap_or_default();
    let seen = part.chars().filter(|c| !is_hidden(*c) && !matches!(c, '\u{fe0e}' | '\u{fe0f}'));
    // Upper and then lower case makes equal what differs only by case, such as U+017F and "s", or the
    // dotless i and "i". A Turkish capital I leaves its dot behind.
    let mut folded: String =
        seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).filter(|c| *c != '\u{307}').collect();
    folded.truncate(folded.trim_end_matches(['.', ' ']).len());
    folded
}
