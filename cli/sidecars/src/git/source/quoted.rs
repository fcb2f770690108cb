//! Quotes a path for a command line that a person may paste.

use bottle_core::visible::Line;
use std::fmt;

/// A word, written so that a shell reads it as one.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%:,".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        write!(f, "'{}'", Line(&self.0.replace('\'', r"'\''")))
    }
}
