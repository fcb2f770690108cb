//! Where in a file something is wrong.

use crate::failure::{Failure, Kind};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file's text, with what it takes to point into it.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The text of the file at `path`.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A failure that points at `span`, bytes of the text: file, line, column, and the line itself.
    pub fn fail(&self, span: Option<Range<usize>>, what: &str) -> Failure {
        let Some(span) = span.filter(|span| self.text.is_char_boundary(span.start)) else {
            return Failure::new(Kind::Usage, format!("{}: {what}", self.path.display()));
        };
        let before = &self.text[..span.start];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let shown = self.text[start..].lines().next().unwrap_or_default();
        let column = self.text[start..span.start].chars().count() + 1;
        let end = span.end.clamp(span.start, start + shown.len());
        let width = self.text.get(span.start..end).map_or(1, |marked| marked.chars().count().max(1));
        let gutter = " ".repeat(line.to_string().len());
        let (pad, mark) = (" ".repeat(column - 1), "^".repeat(width));
        Failure::new(
            Kind::Usage,
            format!(
                "{}:{line}:{column}: {what}\n {gutter} |\n {line} | {shown}\n {gutter} | {pad}{mark}",
                self.path.display()
            ),
        )
    }
}
