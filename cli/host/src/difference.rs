//! The difference of one file, for people: as text in a terminal, and line by line for a page.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use std::fmt;

/// How many unchanged lines are shown around a change.
const CONTEXT: usize = 3;

/// The difference of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What changed, on one line: `M name`.
    pub title: String,
    /// What else there is to say: permissions, the sides of a conflict.
    pub notes: Vec<String>,
    /// The names of both sides, if they are compared line by line.
    pub names: Option<(String, String)>,
    /// The changed lines, with those around them.
    pub hunks: Vec<Hunk>,
    /// Both sides in words, if they are not compared.
    pub sides: Vec<String>,
}

/// Consecutive lines of both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// Where they are: `@@ -1,2 +1,3 @@`.
    pub header: String,
    /// The number of the first line of the old side.
    pub old: usize,
    /// The number of the first line of the new side.
    pub new: usize,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// ` ` on both sides, `-` only on the old one, `+` only on the new one.
    pub sign: char,
    /// Its text, with the end of the line.
    pub text: String,
    /// Whether it is the last line, and has no end.
    pub unfinished: bool,
}

impl Difference {
    /// Adds what differs between two texts.
    pub fn compare<'t>(&mut self, diff: &TextDiff<'t, 't, str>, old: String, new: String) {
        self.names = Some((old, new));
        for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
            let first = hunk.ops().first();
            let line = |change: similar::Change<&str>| Line {
                sign: match change.tag() {
                    ChangeTag::Equal => ' ',
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                },
                text: change.value().to_owned(),
                unfinished: change.missing_newline(),
            };
            self.hunks.push(Hunk {
                header: hunk.header().to_string(),
                old: first.map_or(0, |op| op.old_range().start) + 1,
                new: first.map_or(0, |op| op.new_range().start) + 1,
                lines: hunk.iter_changes().map(line).collect(),
            });
        }
    }

    /// Returns about how many bytes it has.
    pub fn len(&self) -> usize {
        let lines = self.hunks.iter().flat_map(|hunk| &hunk.lines);
        let text: usize = lines.map(|line| line.text.len() + 1).sum();
        text + self.title.len() + self.notes.iter().chain(&self.sides).map(String::len).sum::<usize>()
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// As a unified diff, like git's.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        if let Some((old, new)) = self.names.as_ref().filter(|_| !self.hunks.is_empty()) {
            writeln!(f, "--- {old}\n+++ {new}")?;
        }
        for hunk in &self.hunks {
            writeln!(f, "{}", hunk.header)?;
            for line in &hunk.lines {
                write!(f, "{}{}", line.sign, line.text)?;
                if line.unfinished {
                    writeln!(f, "\n\\ No newline at end of file")?;
                }
            }
        }
        self.sides.iter().try_for_each(|side| writeln!(f, "{side}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_one_of_a_unified_diff() {
        let far: String = (0..30).map(|at| format!("line {at}\n")).collect();
        for (old, new) in [
            ("", "a\n"),
            ("a\n", ""),
            ("a\nb\n", "a\nc\n"),
            ("a\n", "a"),
            ("a", "a\nb"),
            ("a\r\nb\rc\n", "a\nb\rd\n"),
            (&far, &far.replace("line 2\n", "x\n").replace("line 27\n", "")),
            ("same\n", "same\n"),
        ] {
            let diff = TextDiff::from_lines(old, new);
            let mut difference = Difference { title: "M x".to_owned(), ..Difference::default() };
            difference.compare(&diff, "a/x".to_owned(), "b/x".to_owned());
            let wanted = diff.unified_diff().context_radius(CONTEXT).header("a/x", "b/x").to_string();
            assert_eq!(difference.to_string(), format!("M x\n{wanted}"), "{old:?} {new:?}");
        }
    }
}
