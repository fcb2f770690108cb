//! The repository's own configuration. It is only ever read as text, and nothing in it is run.

use super::files::text;
use super::open::Source;
use crate::git::child::Git;
use anyhow::{Context, Result};

const MAX_CONFIG: u64 = 1 << 20;

/// Keys and values, in the order of the file. Sections and names are in lower case.
#[derive(Clone, Debug, Default)]
pub struct Configuration(Vec<(String, String)>);

impl Configuration {
    /// Parses a text in git's configuration format. git reads only the text, and opens no file that it
    /// includes.
    ///
    /// # Errors
    /// Returns git's own message if the text is not in that format.
    pub fn of(text: String) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let words = ["config", "--file", "-", "--no-includes", "--null", "--list"];
        let said = Git::without_repository().args(words).input(text).output()?;
        let said = String::from_utf8_lossy(&said);
        // A key without a value means true.
        let entry = |entry: &str| match entry.split_once('\n') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (entry.to_owned(), "true".to_owned()),
        };
        Ok(Self(said.split('\0').filter(|text| !text.is_empty()).map(entry).collect()))
    }

    /// Returns every value of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Returns the value that counts for a key: the last one.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Returns the middle part and the value of each key with this section and this name:
    /// `("origin", "true")` for `remote.origin.promisor`.
    pub fn below<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| {
            let middle =
                key.strip_prefix(section)?.strip_prefix('.')?.strip_suffix(name)?.strip_suffix('.')?;
            Some((middle, value.as_str()))
        })
    }

    /// Returns the name and value of each key in a section without a middle part.
    pub fn section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| {
            Some((key.strip_prefix(section)?.strip_prefix('.')?, value.as_str()))
        })
    }
}

impl Source {
    /// Returns the repository's configuration.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn configuration(&self) -> Result<Configuration> {
        let text = text(&self.common, "config", MAX_CONFIG)?.unwrap_or_default();
        Configuration::of(text).with_context(|| self.place.join("config").display().to_string())
    }
}
