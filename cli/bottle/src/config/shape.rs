//! Values of `bottle.toml` that do not fit: serde's messages, in the words of a person who writes TOML.
//!
//! serde says what is wrong in a few forms. [`Shape`] is what each form says; [`failure`] says it again
//! with the key that is meant, and with what helps.

use super::key::{Key, Part};
use super::source::Source;
use crate::suggest::nearest;
use bottle_host::failure::Failure;

/// What is wrong with a value, a key or a table.
#[derive(Debug, PartialEq, Eq)]
enum Shape<'m> {
    /// A value of another type, or out of range.
    Value { found: Option<String>, expected: Option<String>, list: bool },
    /// A word that is none of those that the key takes.
    Word { word: &'m str, words: Vec<&'m str> },
    /// A key that the table does not have.
    UnknownKey { name: &'m str, names: Vec<&'m str> },
    /// A key that the table has to have.
    MissingKey(&'m str),
    /// A key that is there twice.
    DuplicateKey(&'m str),
    /// What a type of bottle's own says about a value.
    Own(&'m str),
    /// Anything else, which a person is not shown.
    Other,
}

/// How messages begin that are not bottle's own.
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
            Self::Value {
                found: found_words(found),
                expected: expected_words(expected),
                list: expected == "a sequence",
            }
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
                Self::Value { found: None, expected: expected_words("IP address"), list: false }
            }
            ("invalid socket address syntax", _) => {
                Self::Value { found: None, expected: expected_words("socket address"), list: false }
            }
            ("wanted string or table", _) => {
                Self::Value { found: None, expected: expected_words("a string"), list: false }
            }
            _ if FOREIGN.iter().any(|start| message.starts_with(start)) => Self::Other,
            _ => Self::Own(message),
        }
    }
}

/// What serde found, in words; `None` if there are none for it.
fn found_words(found: &str) -> Option<String> {
    for (start, name) in [
        ("boolean `", ""),
        ("integer `", "the number "),
        ("floating point `", "the number "),
        ("string ", "the text "),
    ] {
        if let Some(value) = found.strip_prefix(start) {
            let value = value.strip_suffix('`').unwrap_or(value);
            return Some(format!("{name}{}", value.split('`').next().unwrap_or(value)));
        }
    }
    match found {
        "sequence" => Some("a list".to_owned()),
        "map" => Some("a table".to_owned()),
        _ => None,
    }
}

/// What serde expects, in words; `None` if there are none for it.
fn expected_words(expected: &str) -> Option<String> {
    let number = |most: u64| format!("a whole number from 0 to {most}");
    Some(match expected {
        "a string" | "string" | "path string" => "text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX.into()),
        "u64" => "a whole number, 0 or more".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "IP address" => "an address in quotes, like \"127.0.0.1\"".to_owned(),
        "socket address" => "an address and a port in quotes, like \"127.0.0.1:8888\"".to_owned(),
        table if table.starts_with("struct ") => "a table".to_owned(),
        _ => return None,
    })
}

/// Words as a sentence lists them: `a, b or c`.
fn listed(words: &[&str], quote: char, last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Makes the failure of a file that is TOML and says what `bottle.toml` cannot say.
pub fn failure(source: &Source, error: &toml::de::Error) -> Failure {
    let key = error.span().map(|span| Key::at(source.text(), &span)).unwrap_or_default();
    let (what, help) = in_words(&Shape::of(error.message()), &key);
    let failure = source.fail(error.span(), &what);
    help.into_iter().fold(failure, Failure::help)
}

/// What is wrong, and what helps.
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
        Shape::Value { found, expected: Some(expected), list } => {
            let found = found.as_ref().map_or_else(String::new, |found| format!(", not {found}"));
            let what = format!("{subject} must be {expected}{found}");
            (what, list.then(|| "write a list in brackets: [\"one\", \"two\"]".to_owned()))
        }
        Shape::Value { found: Some(found), .. } => (format!("{subject} cannot be {found}"), None),
        Shape::Value { .. } | Shape::Other => (format!("{subject} cannot have this value"), None),
        Shape::Word { word, words } => (
            format!("{subject} must be {}, not {word:?}", listed(words, '"', "or")),
            did_you_mean(word, words, '"'),
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
            (format!("the key `{name}` is there twice"), Some("keep one of the two".to_owned()))
        }
        Shape::Own(what) if what.starts_with("must ") => (format!("{subject} {what}"), None),
        Shape::Own(what) => ((*what).to_owned(), None),
    }
}
