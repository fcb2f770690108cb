//! Folders with the results of a run. They belong to the project's owner and not to its next guest.

use crate::beneath::Folder;
use std::ffi::OsStr;
use std::io::Read;

/// The file in such a folder that says how the run went.
pub const RESULT: &str = "result.json";
/// The longest start of it that says what it is, and whether the run has ended.
const START: u64 = 96;

/// A run that has results in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// It has ended.
    Ended,
    /// It is under way, and may be the one that asks.
    Running,
}

/// Returns which run this folder of another one holds the results of, if it holds any.
pub(super) fn in_folder(above: &Folder, name: &OsStr) -> Option<Of> {
    let (file, _) = above.folder(name).ok()?.file(OsStr::new(RESULT)).ok()?;
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start).ok()?;
    of(&String::from_utf8_lossy(&start))
}

fn of(start: &str) -> Option<Of> {
    let rest = start.trim_start_matches(['{', ' ', '\n']).strip_prefix("\"schema\": \"bottle/result/")?;
    Some(if rest.contains("\"state\": \"ended\"") { Of::Ended } else { Of::Running })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_say_in_their_first_lines_what_they_are() {
        let start = "{\n  \"schema\": \"bottle/result/1\",\n  \"state\": \"ended\",\n";
        assert!(start.len() as u64 <= START);
        assert_eq!(of(start), Some(Of::Ended));
        assert_eq!(of(&start.replace("ended", "running")), Some(Of::Running));
        for other in ["", "{}", "{\n  \"schema\": \"bottle/plan/1\"", "[\"bottle/result/1\"]"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
