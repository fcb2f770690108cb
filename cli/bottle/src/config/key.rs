//! Finds the key that a part of the file belongs to.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key with the tables around it: `guest.env.LANG`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    names: Vec<String>,
    /// The part of it that is meant.
    pub part: Part,
}

/// A part of a key and its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The name before the `=`.
    Name,
    /// The value after it.
    #[default]
    Value,
    /// One item of a list.
    Item,
}

impl Key {
    /// Returns the key whose name or value is at `span` in a file. The whole file is the key without a name.
    pub fn at(text: &str, span: &Range<usize>) -> Self {
        let Ok(document) = DeTable::parse(text) else { return Self::default() };
        let mut names = Vec::new();
        let part = find(document.get_ref(), span, &mut names);
        Self { names, part: part.unwrap_or_default() }
    }

    /// Returns the innermost name.
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// Returns the key of the table around it, or `None` if that is the file itself.
    pub fn table(&self) -> Option<Self> {
        let names =
            self.names.split_last().map(|(_, names)| names.to_vec()).filter(|names| !names.is_empty());
        names.map(|names| Self { names, part: Part::Value })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.names.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !name.is_empty() && name.chars().all(is_bare) {
                write!(f, "{dot}{name}")?;
            } else {
                write!(f, "{dot}{name:?}")?;
            }
        }
        Ok(())
    }
}

/// Looks for `span` in a table. `names` starts with the names of the table, and ends with those of the key.
fn find(table: &DeTable<'_>, span: &Range<usize>, names: &mut Vec<String>) -> Option<Part> {
    for (key, value) in table {
        names.push(key.get_ref().to_string());
        if key.span() == *span {
            return Some(Part::Name);
        }
        if let Some(part) = find_in(value, span, names) {
            return Some(part);
        }
        names.pop();
    }
    None
}

/// The deepest value wins: a table has the position of its header, like the tables that it implies.
fn find_in(value: &Spanned<DeValue<'_>>, span: &Range<usize>, names: &mut Vec<String>) -> Option<Part> {
    let deeper = match value.get_ref() {
        DeValue::Table(table) => find(table, span, names),
        DeValue::Array(items) => items.iter().find_map(|item| {
            let part = find_in(item, span, names)?;
            let is_plain = part == Part::Value && item.span() == *span && !item.get_ref().is_table();
            Some(if is_plain { Part::Item } else { part })
        }),
        _ => None,
    };
    deeper.or_else(|| (value.span() == *span).then_some(Part::Value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_file_has_its_key() {
        let text = "slug = \"t\"\n[guest]\ncpus = 1\nenv = { \"A B\" = \"c\" }\n\
                    [[upstream]]\nheaders.x = { prefix = \"s\" }\n[egress]\nallow = [\"a\", \"b\"]\n";
        for (marked, key, part) in [
            ("slug", "slug", Part::Name),
            ("\"t\"", "slug", Part::Value),
            ("1", "guest.cpus", Part::Value),
            ("\"A B\"", "guest.env.\"A B\"", Part::Name),
            ("\"c\"", "guest.env.\"A B\"", Part::Value),
            ("\"s\"", "upstream.headers.x.prefix", Part::Value),
            ("[\"a\", \"b\"]", "egress.allow", Part::Value),
            ("\"b\"", "egress.allow", Part::Item),
        ] {
            let start = text.find(marked).unwrap();
            let found = Key::at(text, &(start..start + marked.len()));
            assert_eq!((found.to_string().as_str(), found.part), (key, part), "{marked}");
        }
        assert_eq!(Key::at(text, &(3..5)), Key::default());
    }
}
