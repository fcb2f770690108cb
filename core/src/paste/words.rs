//! The paths in a paste, as terminals write them: in quotes, with backslashes, as URLs, or as they are.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is between two paths.
pub(super) const SEPARATORS: &[u8] = b" \r\n";
/// What may be in a path between separators without being escaped.
const PLAIN: &str = "/._-+@%:,=~";

/// How a path is written.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Escaped,
    Quoted,
    Url,
}

/// Returns a text with the guest's paths in the place of this machine's, if it is nothing but those.
pub(super) fn renamed(text: &[u8], place: &mut impl FnMut(&str) -> Option<String>) -> Option<Vec<u8>> {
    let text = core::str::from_utf8(text).ok()?;
    let mut place = |path: &str| {
        let is_one = path.starts_with('/') && !path.contains(char::is_control);
        is_one.then(|| place(path)).flatten().filter(|path| !path.contains(char::is_control))
    };
    // Some terminals paste a path with spaces as it is.
    let is_separator = |c: char| u8::try_from(c).is_ok_and(|byte| SEPARATORS.contains(&byte));
    let whole = text.trim_matches(is_separator);
    if let Some(path) = place(whole) {
        return Some(text.replacen(whole, &path, 1).into_bytes());
    }
    let (mut renamed, mut rest, mut some) = (String::new(), text, false);
    loop {
        let (between, after) = rest.split_at(rest.find(|c| !is_separator(c)).unwrap_or(rest.len()));
        renamed.push_str(between);
        if after.is_empty() {
            return some.then(|| renamed.into_bytes());
        }
        let (path, style, end) = word(after)?;
        renamed.push_str(&written(&place(&path)?, style));
        some = true;
        rest = &after[end..];
    }
}

/// Reads the path at the beginning of a text. Returns it with where it ends.
fn word(text: &str) -> Option<(String, Style, usize)> {
    if text.starts_with("file:") {
        let end = text.find([' ', '\r', '\n']).unwrap_or(text.len());
        return Some((of_url(&text[..end])?, Style::Url, end));
    }
    let (mut path, mut style, mut quote) = (String::new(), Style::Plain, None);
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match (quote, c) {
            (None, ' ' | '\r' | '\n') => return Some((path, style, at)),
            (None, '\'' | '"') => (quote, style) = (Some(c), Style::Quoted),
            (Some(open), _) if c == open => quote = None,
            (None, '\\') => {
                if matches!(style, Style::Plain) {
                    style = Style::Escaped;
                }
                path.push(rest.next()?.1);
            }
            (Some('"'), '\\') => {
                let next = rest.next()?.1;
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    path.push('\\');
                }
                path.push(next);
            }
            _ => path.push(c),
        }
    }
    quote.is_none().then_some((path, style, text.len()))
}

/// Returns the path of a URL of a file of this machine.
fn of_url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let (mut bytes, mut rest) = (Vec::new(), path.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'?' | b'#' => return None,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Writes a path in a style.
fn written(path: &str, style: Style) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || PLAIN.contains(c);
    match style {
        Style::Quoted => format!("'{}'", path.replace('\'', r"'\''")),
        Style::Plain | Style::Escaped => {
            let mut text = String::with_capacity(path.len());
            for c in path.chars() {
                if !is_plain(c) {
                    text.push('\\');
                }
                text.push(c);
            }
            text
        }
        Style::Url => {
            let mut text = String::from("file://");
            for byte in path.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                        text.push(char::from(byte));
                    }
                    byte => text.push_str(&format!("%{byte:02X}")),
                }
            }
            text
        }
    }
}
