//! Guesses the command line that a person meant: one without its `--`, or with a path in place of a name.

use crate::complete::bottles;
use bottle_core::slug::Slug;
use bottle_core::visible;
use bottle_host::tools::in_path;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::path::Path;

/// Returns what was probably meant by a command line that clap refused.
pub fn meant(error: &clap::Error) -> Option<String> {
    let words = words();
    let (_, subcommand, _) = subcommand(&words)?;
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument => {
            dashed().map(|line| format!("did you mean `{line}`?"))
        }
        ErrorKind::ValueValidation => {
            let is_slug = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(arg)) if arg.contains("SLUG"));
            match error.get(ContextKind::InvalidValue) {
                Some(ContextValue::String(value)) if is_slug => name(subcommand, &shown(value)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns this process's command line with the `--` that `exec` and `run` want before the guest's command.
pub fn dashed() -> Option<String> {
    let words = words();
    let (before, subcommand, rest) = subcommand(&words)?;
    if !matches!(subcommand, "exec" | "run") || rest.iter().any(|word| word == "--") {
        return None;
    }
    let options = rest.iter().take_while(|word| word.starts_with('-')).count();
    let (options, words) = rest.split_at(options);
    let words = with_dashes(words)?;
    let mut line = vec!["bottle".to_owned()];
    line.extend(before.iter().chain([subcommand.to_owned()].iter()).chain(options).map(|word| quoted(word)));
    Some(format!("{} {words}", line.join(" ")))
}

fn words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| shown(&word.to_string_lossy())).collect()
}

/// Splits words at the subcommand.
fn subcommand(words: &[String]) -> Option<(&[String], &str, &[String])> {
    let mut at = 0;
    while words.get(at)?.starts_with('-') {
        at += if matches!(words[at].as_str(), "-c" | "--config") { 2 } else { 1 };
    }
    let (before, rest) = words.split_at(at);
    let (subcommand, rest) = rest.split_first()?;
    Some((before, subcommand, rest))
}

/// Puts the `--` where it belongs: after the bottle's name, if the first word is one.
fn with_dashes(words: &[String]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    let join = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let known = first.parse::<Slug>().is_ok_and(|slug| bottles().contains(&slug));
    let is_name = known
        || (first.parse::<Slug>().is_ok()
            && in_path(first).is_none()
            && rest.first().is_some_and(|word| in_path(word).is_some()));
    Some(match (is_name, rest) {
        (true, []) => format!("{first} -- COMMAND"),
        (true, rest) => format!("{first} -- {}", join(rest)),
        (false, _) => format!("-- {}", join(words)),
    })
}

/// Returns what a person meant by text that is not a bottle's name.
fn name(subcommand: &str, value: &str) -> Option<String> {
    let path = Path::new(value);
    if value.contains('/') || matches!(value, "." | "..") {
        let word = quoted(value);
        return Some(if value == "." {
            format!("the project here is meant without a name: `bottle {subcommand}`")
        } else if matches!(subcommand, "run" | "exec") && !path.is_dir() {
            format!("did you mean `bottle {subcommand} -- {word}`?")
        } else if path.is_file() {
            format!(
                "a bottle has a name, and this is a path: did you mean `bottle --config {word} {subcommand}`?"
            )
        } else {
            format!(
                "a bottle has a name, and this is a path: did you mean `cd {word} && bottle {subcommand}`?"
            )
        });
    }
    Slug::from_name(value).map(|slug| format!("did you mean `{slug}`?"))
}

/// Quotes text that a shell would otherwise read differently.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Makes text safe to print: a shell may have put the name of a guest's file into it.
fn shown(text: &str) -> String {
    if text.chars().any(visible::is_hidden) { visible::Line(text).to_string() } else { text.to_owned() }
}
