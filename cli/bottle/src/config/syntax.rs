//! A file that is not TOML: what the parser says, in plain words.

use super::source::Source;
use bottle_host::failure::Failure;

/// How the parser's messages begin, what each of them means, and what helps. The first that fits is used.
const SAYINGS: &[(&str, &str, Option<&str>)] = &[
    ("duplicate key", "this is there twice", Some("keep one of the two")),
    ("cannot extend value", "this has a value already, so it cannot be a table", None),
    ("key with no value", "this key has no value", Some("write `key = value`")),
    ("missing value", "a value is missing after the `=`", None),
    ("extra `=`", "there is one `=` too many", None),
    ("extra assignment", "there is one `=` too many", None),
    ("unclosed array table", "`]]` is missing at the end of the table's name", None),
    ("unclosed table", "`]` is missing at the end of the table's name", None),
    ("unclosed array", "`]` is missing at the end of the list", None),
    ("unclosed inline table", "`}` is missing at the end of the table", None),
    ("invalid basic string, expected `\"`", "`\"` is missing at the end of the text", None),
    ("invalid literal string, expected `'`", "`'` is missing at the end of the text", None),
    ("invalid multi-line basic string, expected `\"`", "`\"\"\"` is missing at the end of the text", None),
    ("invalid multi-line literal string, expected `'`", "`'''` is missing at the end of the text", None),
    ("invalid basic string", "this character cannot stand in text as it is", Some("write it as \\u0000")),
    ("invalid multi-line", "this character cannot stand in text as it is", Some("write it as \\u0000")),
    ("invalid literal string", "this character cannot stand in text as it is", None),
    ("missing escaped value", "this is no escape", Some("write a backslash as `\\\\`, or use '...'")),
    ("too few unicode value digits", "this is no escape", Some("write `\\u` and four digits")),
    ("invalid value", "this is no escape", Some("write `\\u` and four digits")),
    (
        "invalid unquoted key",
        "a key without quotes has only letters, digits, `-` and `_`",
        Some("put quotes around it"),
    ),
    ("unquoted keys cannot be empty", "a key is missing here", None),
    ("missing key", "a key is missing here", None),
    ("invalid inline table element", "a key is missing here", None),
    ("invalid key-value pair", "a key is missing here", None),
    ("keys cannot be multi-line", "a key is on one line", None),
    ("missing opening quote", "text needs quotes around it", Some("write \"...\"")),
    ("string values must be quoted", "text needs quotes around it", Some("write \"...\"")),
    ("missing comma between array", "a comma is missing between two items of the list", None),
    ("missing comma between key", "a comma is missing between two keys of the table", None),
    ("missing assignment", "`=` is missing after the key", None),
    ("extra comma", "there is one comma too many", None),
    ("unexpected `=` in array", "a list has values and no keys", None),
    ("unexpected key or value", "there is more on this line than one key and its value", None),
    ("unexpected content", "this does not belong here", None),
    (
        "carriage return must",
        "a line ends in half a line break",
        Some("save the file with plain line breaks"),
    ),
    ("invalid comment character", "this character cannot stand in a comment", None),
    ("unexpected leading zero", "a number does not begin with 0", None),
    ("invalid boolean", "this is not a value", Some("write `true` or `false`, or put text in quotes")),
    ("invalid date-time", "this is not a value", Some("put text in quotes")),
    ("cannot recurse", "there are too many brackets inside each other", None),
];

/// What the parser says of anything that looks like a number and is none.
const NUMBERS: [&str; 13] = [
    "invalid integer",
    "invalid hexadecimal",
    "invalid octal",
    "invalid binary",
    "invalid float",
    "invalid mantissa",
    "invalid fraction",
    "invalid exponent",
    "redundant",
    "unexpected sign",
    "`_` may only",
    "radix must",
    "integers with",
];

/// Makes the failure of a file that is not TOML.
pub fn failure(source: &Source, error: &toml::de::Error) -> Failure {
    let (what, help) = in_words(error.message());
    let failure = source.fail(error.span(), what);
    help.into_iter().fold(failure, Failure::help)
}

fn in_words(message: &str) -> (&'static str, Option<&'static str>) {
    if NUMBERS.iter().any(|start| message.starts_with(start)) {
        return ("this is not a number", Some("put text in quotes"));
    }
    let saying = SAYINGS.iter().find(|(start, ..)| message.starts_with(start));
    saying.map_or(
        ("this is not TOML", Some("a line has `key = value`, `[table]` or a comment")),
        |(_, what, help)| (*what, *help),
    )
}
