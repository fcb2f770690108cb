//! Points at errors in a file.

use super::found;
use bottle_core::visible;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file's text, with everything needed to point into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Takes the text of the file at `path`.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Makes a failure that points at `span`, bytes of the text: file, line, column, and the line itself. A
    /// guest may have written them, so control characters are replaced.
    pub fn fail(&self, span: Option<Range<usize>>, what: &str) -> Failure {
        self.fail_as(Kind::Usage, span, what)
    }

    /// Makes the same failure of another kind.
    pub fn fail_as(&self, kind: Kind, span: Option<Range<usize>>, what: &str) -> Failure {
        let what = printable(what);
        let Some(span) = span.filter(|span| self.text.is_char_boundary(span.start)) else {
            return Failure::new(kind, format!("{}: {what}", found::shown(&self.path)));
        };
        let before = &self.text[..span.start];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let shown = self.text[start..].split('\n').next().unwrap_or_default();
        let column = before[start..].chars().count() + 1;
        let end = span.end.min(start + shown.len()).max(span.start);
        let width = self.text.get(span.start..end).map_or(1, |marked| marked.chars().count().max(1));
        let gutter = " ".repeat(line.to_string().len());
        let (pad, mark) = (" ".repeat(column - 1), "^".repeat(width));
        let shown = printable(shown.strip_suffix('\r').unwrap_or(shown));
        Failure::new(
            kind,
            format!(
                "{}:{line}:{column}: {what}\n {gutter} |\n {line} | {shown}\n {gutter} | {pad}{mark}",
                found::shown(&self.path)
            ),
        )
    }
}

/// Replaces characters that have no width of their own.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if visible::is_hidden(c) && Defence::Visible.stands() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_of_odd_text_can_be_pointed_at() {
        for text in ["a\r\nb = \r\n", "\u{1b}[2J = \"\u{1f980}\"\r", "", "\n\n", "x\ty\r\r\nz"] {
            let source = Source::new(Path::new("f"), text);
            for start in 0..=text.len() {
                for end in start..=text.len() {
                    let said = source.fail(Some(start..end), "a\u{7}b").to_string();
                    assert!(
                        said.starts_with("error: f") && !said.contains(['\u{1b}', '\r', '\u{7}']),
                        "{said:?}"
                    );
                }
            }
        }
    }
}
