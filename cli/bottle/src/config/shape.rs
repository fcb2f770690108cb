//! Explains values of `bottle.toml` that do not fit, in the words of a person who writes TOML.
//!
//! serde describes errors in a few forms. [`Shape`] parses these forms, and [`failure`] explains each with
//! the key and what helps.

use super::key::{Key, Part};
use super::source::Source;
use crate::suggest::nearest;
use bottle_host::failure::Failure;

/// What is wrong with a value, a key or a table.
#[derive(Debug, PartialEq, Eq)]
enum Shape<'m> {
    /// A value of another type, or out of range.
    Value { found: Option<String>, expected: Option<String> },
    /// A word that the key does not accept.
    Word { word: &'m str, words: Vec<&'m str> },
    /// A key that the table does not have.
    UnknownKey { name: &'m str, names: Vec<&'m str> },
    /// A key that the table must have.
    MissingKey(&'m str),
    /// A key that occurs twice.
    DuplicateKey(&'m str),
    /// A message of one of bottle's own types.
    Own(&'m str),
    /// Any other message. It is not shown to people.
    Other,
}

const LIST: &str = "a list";
const TABLE: &str = "a table";
const DATE: &str = "a date";
const BOOLEAN: &str = "true or false";
const NUMBER: &str = "a whole number";
const TEXT: &str = "the text ";

/// The beginnings of messages that are not bottle's own.
const FOREIGN: [&str; 9] = [
    "invalid ",
    "unknown ",
    "missing ",
    "duplicate ",
    "expected ",
    "unexpected ",
    "wanted ",
    "data did ",
    "can ",
];

impl<'m> Shape<'m> {
    fn of(message: &'m str) -> Self {
        let value = |rest: &'m str| {
            let (found, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
            Self::Value { found: found_words(found), expected: expected_words(expected) }
        };
        if let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "))
        {
            return value(rest);
        }
        let quoted = || message.split('`').skip(1).step_by(2);
        match (message, quoted().next()) {
            (_, Some(name)) if message.starts_with("unknown field `") => {
                Self::UnknownKey { name, names: quoted().skip(1).collect() }
            }
            (_, Some(word)) if message.starts_with("unknown variant `") => {
                Self::Word { word, words: quoted().skip(1).collect() }
            }
            (_, Some(name)) if message.starts_with("missing field `") => Self::MissingKey(name),
            (_, Some(name)) if message.starts_with("duplicate field `") => Self::DuplicateKey(name),
            ("invalid IP address syntax", _) => {
                Self::Value { found: None, expected: expected_words("IP address") }
            }
            ("invalid socket address syntax", _) => {
                Self::Value { found: None, expected: expected_words("socket address") }
            }
            ("wanted string or table", _) => {
                Self::Value { found: None, expected: expected_words("a string") }
            }
            ("integer number overflowed", _) => {
                Self::Value { found: None, expected: Some("a much smaller number".to_owned()) }
            }
            _ if FOREIGN.iter().any(|start| message.starts_with(start)) => Self::Other,
            _ => Self::Own(message),
        }
    }
}

/// Describes what serde found, or returns `None` if there are no words for it.
fn found_words(found: &str) -> Option<String> {
    for (start, name) in [
        ("boolean `", ""),
        ("integer `", "the number "),
        ("floating point `", "the number "),
        ("string ", TEXT),
    ] {
        if let Some(value) = found.strip_prefix(start) {
            let value = value.strip_suffix('`').unwrap_or(value);
            return Some(format!("{name}{}", value.split('`').next().unwrap_or(value)));
        }
    }
    match found {
        "sequence" => Some(LIST.to_owned()),
        "map" => Some(TABLE.to_owned()),
        _ => None,
    }
}

/// Describes what serde expects, or returns `None` if there are no words for it.
fn expected_words(expected: &str) -> Option<String> {
    let number = |most: u64| format!("{NUMBER} from 0 to {most}");
    Some(match expected {
        "a string" | "string" | "path string" => "text in quotes".to_owned(),
        "a boolean" => BOOLEAN.to_owned(),
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX.into()),
        "u64" => format!("{NUMBER}, 0 or more"),
        "a sequence" => LIST.to_owned(),
        "a map" => TABLE.to_owned(),
        "IP address" => "an address in quotes, like \"127.0.0.1\"".to_owned(),
        "socket address" => "an address and a port in quotes, like \"127.0.0.1:8888\"".to_owned(),
        table if table.starts_with("struct ") => TABLE.to_owned(),
        _ => return None,
    })
}

/// Lists words as a sentence does: `a, b or c`.
fn listed(words: &[&str], quote: char, last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Makes the failure of a file that is TOML but not a valid `bottle.toml`.
pub fn failure(source: &Source, error: &toml::de::Error) -> Failure {
    let key = error.span().map(|span| Key::at(source.text(), &span)).unwrap_or_default();
    let mut shape = Shape::of(error.message());
    if let Shape::Value { found: Some(found), .. } = &mut shape
        && found == TABLE
        && error.span().and_then(|span| source.text().get(span)).is_some_and(is_date)
    {
        DATE.clone_into(found);
    }
    let (what, help) = in_words(&shape, &key);
    let failure = source.fail(error.span(), &what);
    help.into_iter().fold(failure, Failure::help)
}

/// Returns how to write the expected value, if the one that was found is close to it.
fn how_to_write(expected: &str, found: &str, key: &Key) -> Option<String> {
    let text = found.strip_prefix(TEXT).map(|text| text.trim_matches('"'));
    match (expected, text) {
        (LIST, None) if found == TABLE => Some(format!("write `[[{key}]]` above its keys")),
        (LIST, Some(_)) => Some("write a list in brackets: [\"one\", \"two\"]".to_owned()),
        (BOOLEAN, Some("true" | "false")) => Some("leave out the quotes".to_owned()),
        (number, Some(text)) if number.starts_with(NUMBER) && text.parse::<u64>().is_ok() => {
            Some("leave out the quotes".to_owned())
        }
        _ => None,
    }
}

/// Returns whether the text is a date, which serde reports as a table.
fn is_date(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns what took a word's place that earlier versions knew.
fn gone(key: &Key, word: &str) -> Option<String> {
    (key.to_string() == "network.stack" && word == "kernel")
        .then(|| "\"sockets\" took its place: as fast, and without gvproxy and bubblewrap".to_owned())
}

/// Returns what is wrong, and what helps.
fn in_words(shape: &Shape<'_>, key: &Key) -> (String, Option<String>) {
    let did_you_mean = |wrong: &str, known: &[&str], quote: char| {
        nearest(wrong, known.iter().copied()).map(|near| format!("did you mean {quote}{near}{quote}?"))
    };
    let subject = match (key.part, key.name()) {
        (_, None) => "the file".to_owned(),
        (Part::Name, Some(name)) => format!("the name {name:?}"),
        (Part::Value, Some(_)) => format!("`{key}`"),
        (Part::Item, Some(_)) => format!("an item of `{key}`"),
    };
    match shape {
        Shape::Value { found, expected: Some(expected) } => {
            let found = found.as_deref().unwrap_or_default();
            let not = if found.is_empty() { String::new() } else { format!(", not {found}") };
            (format!("{subject} must be {expected}{not}"), how_to_write(expected, found, key))
        }
        Shape::Value { found: Some(found), .. } => (format!("{subject} cannot be {found}"), None),
        Shape::Value { .. } | Shape::Other => (format!("{subject} cannot have this value"), None),
        Shape::Word { word, words } => (
            format!("{subject} must be {}, not {word:?}", listed(words, '"', "or")),
            gone(key, word).or_else(|| did_you_mean(word, words, '"')),
        ),
        Shape::UnknownKey { name, names } => {
            let place = match key.table() {
                Some(table) => format!("there is no key `{name}` in `{table}`"),
                None => format!("there is no key or table `{name}`"),
            };
            let all = match &names[..] {
                [only] => format!("the only key here is `{only}`"),
                names => format!("the keys here are {}", listed(names, '`', "and")),
            };
            (place, Some(did_you_mean(name, names, '`').unwrap_or(all)))
        }
        Shape::MissingKey(name) => {
            (format!("{subject} needs the key `{name}`"), Some(format!("add `{name} = ...` to it")))
        }
        Shape::DuplicateKey(name) => {
            (format!("the key `{name}` appears twice"), Some("keep one of the two".to_owned()))
        }
        Shape::Own(what) if what.starts_with("must ") => (format!("{subject} {what}"), None),
        Shape::Own(what) => ((*what).to_owned(), None),
    }
}
