//! Paths that a push must not touch, in every form that some file system takes for one of them.
//!
//! `fold` knows which names file systems take for the same one; here NTFS's short names are added.
//! Git guards `.git` against the same forms (`verify_path`); this guards every path of a policy.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// An entry of a tree that a push changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Its path. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Whether it is a symbolic link or a submodule. What is below it is then elsewhere.
    pub leads: bool,
}

/// The paths that a policy guards, ready to be compared.
#[derive(Clone, Debug)]
pub struct Guarded(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    parts: Vec<Part>,
    folder: bool,
}

/// One part of a guarded path.
#[derive(Clone, Debug)]
struct Part {
    folded: String,
    /// The beginning and the extension of the short name that NTFS would give it.
    short: (String, String),
}

impl Guarded {
    /// Reads the paths of a policy. A final slash makes one a folder.
    pub fn new(paths: &[String]) -> Self {
        let rule = |path: &String| Rule {
            folder: path.ends_with('/'),
            parts: parts(path).map(|part| Part::new(&part)).collect(),
        };
        Self(paths.iter().map(rule).filter(|rule| !rule.parts.is_empty()).collect())
    }

    /// Returns whether an entry is a guarded path, is inside one, or leads to where one would be.
    pub fn covers(&self, touched: &Touched) -> bool {
        let path: Vec<String> = parts(&touched.path).collect();
        self.0.iter().any(|rule| {
            let same = rule.parts.iter().zip(&path).take_while(|(rule, part)| rule.is(part)).count();
            if same == rule.parts.len() {
                // A path guarded as a file says nothing about what is below a folder of that name.
                rule.folder || path.len() == same
            } else {
                touched.leads && same == path.len()
            }
        })
    }
}

impl Part {
    fn new(folded: &str) -> Self {
        let bare = folded.trim_start_matches('.');
        let (stem, extension) = bare.rsplit_once('.').unwrap_or((bare, ""));
        let short = |text: &str, most: usize| {
            text.chars().filter(|c| !matches!(c, '.' | ' ')).take(most).collect::<String>()
        };
        Self { folded: folded.into(), short: (short(stem, 6), short(extension, 3)) }
    }

    fn is(&self, part: &str) -> bool {
        if part == self.folded {
            return true;
        }
        let (stem, extension) = part.split_once('.').unwrap_or((part, ""));
        let Some((start, number)) = stem.split_once('~') else { return false };
        if extension != self.short.1 || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        // `GITHUB~1`. After four of a kind NTFS takes two letters and four digits of a hash.
        let hashed = || {
            let two: String = self.short.0.chars().take(2).collect();
            start
                .strip_prefix(two.as_str())
                .is_some_and(|hash| hash.len() == 4 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        !start.is_empty() && (self.short.0.starts_with(start) || hashed())
    }
}

/// Returns the folded parts of a path, without empty ones. The same letter may be written in several ways
/// (`é`, or `e` and an accent): canonical decomposition makes them one.
fn parts(path: &str) -> impl Iterator<Item = String> {
    let path: String = path.nfd().collect();
    let parts: Vec<String> = super::fold::parts(&path).map(|part| part.nfd().collect()).collect();
    parts.into_iter().filter(|part| !part.is_empty())
}
