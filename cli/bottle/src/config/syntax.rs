//! Explains in plain words why a file is not TOML.

use super::source::Source;
use bottle_host::failure::Failure;

const DUPLICATE: &str = "duplicate key";
const UNQUOTED: &str = "string values must be quoted, expected literal string";
const UNCLOSED: &str = "invalid literal string, expected `'`";
const QUOTES: &str = "put text in quotes, and a comma between two items of a list";

/// How the parser's messages begin, what each of them means, and what helps. The first match is used.
const SAYINGS: &[(&str, &str, Option<&str>)] = &[
    ("cannot extend value", "this has a value already, so it cannot be a table", None),
    ("key with no value", "this key has no value", Some("write `key = value`")),
    ("missing value", "a value is missing after the `=`", None),
    ("extra `=`", "there is one `=` too many", None),
    ("extra assignment", "this does not belong to the value before it", Some("put a comma between two keys")),
    ("unclosed array table", "`]]` is missing at the end of the table's name", None),
    ("unclosed table", "`]` is missing at the end of the table's name", None),
    ("unclosed array", "`]` is missing at the end of the list", None),
    ("unclosed inline table", "`}` is missing at the end of the table", None),
    ("invalid basic string, expected `\"`", "`\"` is missing at the end of the text", None),
    (UNCLOSED, "`'` is missing at the end of the text", None),
    ("invalid multi-line basic string, expected `\"`", "`\"\"\"` is missing at the end of the text", None),
    ("invalid multi-line literal string, expected `'`", "`'''` is missing at the end of the text", None),
    ("invalid basic string", "this character cannot stand in text as it is", Some("write it as \\u0000")),
    ("invalid multi-line", "this character cannot stand in text as it is", Some("write it as \\u0000")),
    ("invalid literal string", "this character cannot stand in text as it is", None),
    (
        "missing escaped value",
        "this is not an escape sequence",
        Some("write a backslash as `\\\\`, or use '...'"),
    ),
    ("too few unicode value digits", "this is not an escape sequence", Some("write `\\u` and four digits")),
    ("invalid value", "this is not an escape sequence", Some("write `\\u` and four digits")),
    (
        "invalid unquoted key",
        "a key without quotes has only letters, digits, `-` and `_`",
        Some("put quotes around it"),
    ),
    ("unquoted keys cannot be empty", "a key is missing here", None),
    ("missing key", "a key is missing here", None),
    ("invalid inline table element", "a key is missing here", None),
    ("invalid key-value pair", "a key is missing here", None),
    ("keys cannot be multi-line", "a key has to be on one line", None),
    ("missing opening quote", "this is not a value", Some(QUOTES)),
    (UNQUOTED, "this is not a value", Some(QUOTES)),
    ("missing inline table opening", "this bracket closes nothing", None),
    ("missing table open", "this bracket closes nothing", None),
    ("missing array opening", "this bracket closes nothing", None),
    ("missing comma between array", "a comma is missing between two items of the list", None),
    ("missing comma between key", "a comma is missing between two keys of the table", None),
    ("missing assignment", "`=` is missing after the key", None),
    ("extra comma", "there is one comma too many", None),
    ("unexpected `=` in array", "a list holds values, not keys", None),
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
    ("invalid date", "this is not a date", Some("put text in quotes")),
    ("invalid time", "this is not a time", Some("put text in quotes")),
    ("cannot recurse", "there are too many brackets inside each other", None),
];

/// The parser's messages for text that looks like a number but is not one.
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
    let text = source.text();
    let span = error.span().unwrap_or_default();
    let line = text.get(..span.start).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
    let marked = text.get(span.clone()).unwrap_or_default().trim();
    let (what, help) = match error.message() {
        DUPLICATE => (format!("`{marked}` appears twice"), Some("keep one of the two")),
        UNQUOTED if marked.is_empty() => ("a value is missing here".to_owned(), None),
        UNCLOSED if !line.contains('\'') => ("a value is missing here".to_owned(), None),
        message => {
            let (what, help) = in_words(message);
            (what.to_owned(), help)
        }
    };
    let failure = source.fail(error.span(), &what);
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
