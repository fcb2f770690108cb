//! What is not copied: paths that `exclude` and `.bottleignore` list, and files like `.env`, which contain
//! secrets.
//!
//! Both are lists of patterns, as in a `.gitignore`. Only `exclude`, which a person trusts along with the
//! rest of `bottle.toml`, can bring a secret back (`!.env`). A `.bottleignore` may come from a guest, so it
//! can only exclude more.

use anyhow::{Context, Result};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name of the project's own list.
pub const FILE: &str = ".bottleignore";

/// Patterns that are excluded unless `exclude` says otherwise. Upper and lower case are the same in them: they are on
/// some systems.
const SECRETS: [&str; 5] = [".env", ".env[._-]*", ".envrc", "!.env.example", "!.env.sample"];

/// The lists of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// The configuration's `exclude`.
    pub configured: Vec<String>,
    /// The lines of the project's `.bottleignore`.
    pub ignored: Vec<String>,
}

/// Why a path is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A list says so.
    Listed,
    /// It is a file like `.env`.
    Secret,
}

/// Decides what is not copied.
#[derive(Clone, Debug)]
pub struct Exclude {
    secrets: Gitignore,
    configured: Gitignore,
    ignored: Gitignore,
    has_results: bool,
}

impl Exclude {
    /// Excludes what these lists match.
    ///
    /// # Errors
    /// Returns an error if a line is not a pattern.
    pub fn new(lists: &Lists) -> Result<Self> {
        Ok(Self {
            secrets: matcher(SECRETS.iter().copied(), true)?,
            configured: matcher(lists.configured.iter().map(String::as_str), false)
                .context("[workspace] exclude")?,
            ignored: matcher(lists.ignored.iter().map(String::as_str), false).context(FILE)?,
            has_results: false,
        })
    }

    /// Excludes nothing.
    pub fn nothing() -> Self {
        let [secrets, configured, ignored] = [(); 3].map(|()| Gitignore::empty());
        Self { secrets, configured, ignored, has_results: true }
    }

    /// Returns why a path is not copied, assuming that nothing above it is excluded.
    pub fn why(&self, path: &Path, is_folder: bool) -> Option<Why> {
        match self.configured.matched(path, is_folder) {
            Match::Ignore(_) => return Some(Why::Listed),
            Match::None if self.secrets.matched(path, is_folder).is_ignore() => return Some(Why::Secret),
            Match::None | Match::Whitelist(_) => {}
        }
        self.ignored.matched(path, is_folder).is_ignore().then_some(Why::Listed)
    }

    /// Returns whether a folder with the results of a run is copied. `exclude` can say so, of it or of a folder above it.
    pub fn has_results(&self, path: &Path) -> bool {
        self.has_results || self.configured.matched_path_or_any_parents(path, true).is_whitelist()
    }

    /// Returns whether a path or anything above it is excluded.
    pub fn holds(&self, path: &Path) -> bool {
        let all = || path.ancestors().filter(|above| !above.as_os_str().is_empty());
        all().any(|above| self.why(above, above != path).is_some() || self.why(above, true).is_some())
    }
}

/// Checks a pattern.
///
/// # Errors
/// Returns what is wrong with it.
pub fn check(pattern: &str) -> Result<(), String> {
    if pattern.trim().is_empty() || pattern.starts_with('#') || pattern.contains(['\n', '\0']) {
        return Err("it is not a pattern".to_owned());
    }
    parse(pattern)
}

/// Parses a line of a list, which may be empty or a comment.
///
/// # Errors
/// Returns what is wrong with it.
pub fn parse(line: &str) -> Result<(), String> {
    matcher(std::iter::once(line), false).map(drop).map_err(|error| error.root_cause().to_string())
}

fn matcher<'l>(lines: impl Iterator<Item = &'l str>, any_case: bool) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    builder.case_insensitive(any_case)?;
    for line in lines {
        builder.add_line(None, line).with_context(|| format!("{line:?}"))?;
    }
    Ok(builder.build()?)
}
