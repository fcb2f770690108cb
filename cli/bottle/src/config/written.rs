//! The keys that a file sets, each with its value as it is written there.

use super::found::Found;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How many characters of a value are shown.
const WIDTH: usize = 60;

/// A key that a file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key, with the tables around it: `guest.env.LANG`.
    pub key: String,
    /// Its value, as it is written.
    pub value: String,
    /// The position of its value in the file.
    pub span: Range<usize>,
    /// The file.
    pub file: PathBuf,
    /// The line of the file, counted from 1.
    pub line: usize,
}

impl Written {
    /// Returns the keys that a file sets, in the order of their names. A file that is no TOML sets none.
    pub fn of(found: &Found) -> Vec<Self> {
        let Ok(document) = DeTable::parse(&found.text) else { return Vec::new() };
        let mut keys = Vec::new();
        collect(document.get_ref(), "", found, &mut keys);
        keys
    }

    /// Returns whether it is this key, or one of the table of that name.
    pub fn is_in(&self, key: &str) -> bool {
        self.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", super::found::shown(&self.file), self.line)
    }
}

fn collect(table: &DeTable<'_>, above: &str, found: &Found, keys: &mut Vec<Written>) {
    for (name, value) in table {
        let dot = if above.is_empty() { "" } else { "." };
        let key = format!("{above}{dot}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => collect(inner, &key, found, keys),
            _ => keys.push(written(key, name.span(), value, found)),
        }
    }
}

fn written(key: String, name: Range<usize>, value: &Spanned<DeValue<'_>>, found: &Found) -> Written {
    let span = value.span();
    let shown = match value.get_ref() {
        DeValue::Array(items) if items.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))) => {
            format!("{} of them", items.len())
        }
        _ => {
            found.text.get(span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
        }
    };
    let value = match shown.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}...", &shown[..at]),
        None => shown,
    };
    let line = found.text[..name.start.min(found.text.len())].matches('\n').count() + 1;
    Written { key, value, span, file: found.path.clone(), line }
}
