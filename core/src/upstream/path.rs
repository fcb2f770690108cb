//! The paths that go to an upstream: those that every server reads alike.
//!
//! Servers differ in what they do with a path before they look at it. They decode it once or twice, drop
//! `;parameters` (Java's servlets), merge slashes (nginx), turn backslashes into slashes and cut dots and
//! spaces off the end of a name (IIS), or replace a character by one that it looks like (Windows' best fit,
//! NFKC). If any of this could lead a path out of the upstream's own, it is not passed on. What is left
//! means the same to all servers.

use crate::visible::is_hidden;
use alloc::string::String;
use alloc::vec::Vec;

/// Why a path is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It has a character that must be encoded in a path, or that no path has.
    #[error("a path with a character that has to be percent-encoded is not passed on")]
    Character,
    /// It has a percent sign that does not begin an encoding, or it encodes what does not need to be encoded
    /// or must not be.
    #[error("a path that encodes a dot, a slash, a semicolon, a percent sign or no text is not passed on")]
    Encoding,
    /// It has a segment that a server could read as `.` or `..`.
    #[error("a path with a segment of dots is not passed on")]
    Dots,
    /// It has an empty segment before the last.
    #[error("a path with an empty segment ('//') is not passed on")]
    Empty,
}

/// Checks the path after an upstream's own. It is empty or begins with a slash.
///
/// # Errors
/// Returns the first [`BadPath`].
pub fn check(path: &str) -> Result<(), BadPath> {
    let Some(path) = path.strip_prefix('/') else {
        return if path.is_empty() { Ok(()) } else { Err(BadPath::Character) };
    };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(BadPath::Empty);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), BadPath> {
    let mut plain = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(hex));
                let [Some(high), Some(low)] = digits else { return Err(BadPath::Encoding) };
                let byte = high << 4 | low;
                if byte.is_ascii_control() || b"./\\;%".contains(&byte) {
                    return Err(BadPath::Encoding);
                }
                plain.push(byte);
            }
            byte if is_pchar(byte) => plain.push(byte),
            _ => return Err(BadPath::Character),
        }
    }
    let Ok(plain) = String::from_utf8(plain) else { return Err(BadPath::Encoding) };
    if plain.chars().any(|c| is_hidden(c) || is_look_alike(c)) {
        return Err(BadPath::Encoding);
    }
    // A server may take this for the whole name: without parameters, query and fragment, and without the
    // dots and spaces at its end.
    let name = plain.split([';', '?', '#']).next().unwrap_or_default();
    if !plain.is_empty() && name.chars().all(|c| is_dot(c) || c.is_whitespace()) {
        return Err(BadPath::Dots);
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Returns whether a segment may have this byte unencoded: `pchar` of RFC 3986, 3.3, without the
/// percent sign.
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Returns whether some server reads this character as dots.
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{2024}'..='\u{2026}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}' | '\u{ff0e}')
}

/// Returns whether some server reads this character as one of `/ \ ; %`.
fn is_look_alike(c: char) -> bool {
    matches!(
        c,
        '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{ff0f}' // slashes
            | '\u{2216}' | '\u{29f5}' | '\u{fe68}' | '\u{ff3c}' | '\u{a5}' | '\u{20a9}' // backslashes
            | '\u{37e}' | '\u{fe54}' | '\u{ff1b}' // semicolons
            | '\u{fe6a}' | '\u{ff05}' // percent signs
            | '\u{fe00}'..='\u{fe0f}' // variation selectors: a server may drop them
    )
}
