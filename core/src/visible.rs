//! Makes hostile text visible: what controls a terminal or hides from a reader is shown as an escape.
//!
//! The characters are every control character (C0, DEL, C1: ECMA-48) and those with Unicode's
//! `Default_Ignorable_Code_Point` and `Bidi_Control` properties, which are invisible or reorder the text
//! around them (UAX #9, UTR #36, "Trojan Source"). Two stay as they are because real text is full of
//! them: the emoji presentation selector U+FE0F and the text one U+FE0E.

use core::fmt::{self, Write};
#[cfg(debug_assertions)]
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether this process shows hostile text as it is.
#[cfg(debug_assertions)]
static TAKEN_AWAY: AtomicBool = AtomicBool::new(false);

/// Makes this process show hostile text as it is from now on, so that a test can see what happens
/// without this defence. In a release build it does nothing.
pub fn take_away() {
    #[cfg(debug_assertions)]
    TAKEN_AWAY.store(true, Relaxed);
}

fn stands() -> bool {
    #[cfg(debug_assertions)]
    return !TAKEN_AWAY.load(Relaxed);
    #[cfg(not(debug_assertions))]
    true
}

/// Text on one line. Newlines and tabs are escaped, too, and so is the backslash, so that nobody can
/// forge an escape.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a str);

/// Text on several lines. Newlines and tabs stay; everything else that is invisible is escaped.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a>(pub &'a str);

/// Bytes that should be text, on one line. A byte that is not UTF-8 is shown as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

/// JSON text. What a terminal must not see is escaped in JSON's own way, so that its meaning stays.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(pub &'a str);

/// Returns whether a character controls a terminal, reorders a line, or is invisible.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0d}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !stands() {
            return f.write_str(self.0);
        }
        write_line(f, self.0)
    }
}

/// How many spaces in a row are shown as they are. A longer run could imitate a column of a table, or
/// continue until the terminal begins a new line, so that what follows looks like a line of ours.
const SPACES: usize = 4;

fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut spaces = 0;
    text.chars().try_for_each(|c| {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces > SPACES { f.write_str("\\u{20}") } else { write_in_line(f, c) }
    })
}

fn write_in_line(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        // Blanks other than the space: Unicode has several, and Braille one.
        c if is_hidden(c) || (c != ' ' && c.is_whitespace()) || c == '\u{2800}' => {
            write!(f, "{}", c.escape_unicode())
        }
        c => f.write_char(c),
    }
}

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' | '\t' => f.write_char(c),
            c if is_hidden(c) && stands() => write!(f, "{}", c.escape_unicode()),
            c => f.write_char(c),
        })
    }
}

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            if !stands() {
                f.write_str(chunk.valid())?;
                continue;
            }
            write_line(f, chunk.valid())?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_char(c),
            c if is_hidden(c) && stands() => {
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))
            }
            c => f.write_char(c),
        })
    }
}
