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

/// Patterns that are excluded unless `exclude` says otherwise.
const SECRETS: [&str; 4] = [".env", ".env.*", "!.env.example", "!.env.sample"];

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
    configured: Gitignore,
    ignored: Gitignore,
}

impl Exclude {
    /// Excludes what these lists match.
    ///
    /// # Errors
    /// Returns an error if a line is not a pattern.
    pub fn new(lists: &Lists) -> Result<Self> {
        let secrets = SECRETS.iter().map(|line| (*line).to_owned());
        let configured = secrets.chain(lists.configured.iter().cloned());
        Ok(Self {
            configured: matcher(configured).context("[workspace] exclude")?,
            ignored: matcher(lists.ignored.iter().cloned()).context(FILE)?,
        })
    }

    /// Excludes nothing.
    pub fn nothing() -> Self {
        Self { configured: Gitignore::empty(), ignored: Gitignore::empty() }
    }

    /// Returns why a path is not copied, assuming that nothing above it is excluded.
    pub fn why(&self, path: &Path, is_folder: bool) -> Option<Why> {
        if let Match::Ignore(glob) = self.configured.matched(path, is_folder) {
            let is_secret = SECRETS.contains(&glob.original());
            return Some(if is_secret { Why::Secret } else { Why::Listed });
        }
        self.ignored.matched(path, is_folder).is_ignore().then_some(Why::Listed)
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
    matcher(std::iter::once(pattern.to_owned())).map(drop).map_err(|error| error.root_cause().to_string())
}

fn matcher(lines: impl Iterator<Item = String>) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, &line).with_context(|| format!("{line:?}"))?;
    }
    Ok(builder.build()?)
}
