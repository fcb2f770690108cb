//! "Did you mean": finds the name that a person may have had in mind.

use crate::command_line;
use crate::complete::bottles;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Returns the known word that is most like `wrong`, if at most a third of the letters differ. Otherwise it
/// is unlikely that it was meant.
pub fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |word: &str| word.to_lowercase().replace('_', "-");
    let wrong = plain(wrong);
    // Of two that are as near, letters that changed places are likelier than one that was left out.
    let distance = |word: &'k str| {
        (strsim::damerau_levenshtein(&wrong, &plain(word)), word.len().abs_diff(wrong.len()), word)
    };
    let near = |(distance, _, word): &(usize, usize, &str)| {
        *distance <= (wrong.chars().count().max(word.chars().count()) / 3).max(1) && *distance < wrong.len()
    };
    known.into_iter().map(distance).filter(near).min().map(|(.., word)| word)
}

/// Makes the failure of a command that names a bottle that does not exist.
pub fn no_such(slug: &Slug) -> Failure {
    no_such_or(slug, "`bottle ls` lists them")
}

/// Makes the same failure, with `help` if no bottle has a similar name.
pub fn no_such_or(slug: &Slug, help: &str) -> Failure {
    let failure = Failure::new(Kind::NoBottle, format!("there is no bottle {slug}"));
    match similar(slug) {
        Some(known) => failure.help(format!("did you mean `{known}`?")),
        None => failure.help(help),
    }
}

/// Returns the bottle with a similar name if there is no bottle with this one.
pub fn similar(slug: &Slug) -> Option<Slug> {
    let slugs = bottles();
    if slugs.contains(slug) {
        return None;
    }
    nearest(slug.as_str(), slugs.iter().map(Slug::as_str))?.parse().ok()
}

/// Removes the hidden subcommands from clap's suggestions, and adds the command line that was probably meant.
pub fn for_people(mut error: clap::Error, command: &clap::Command) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand)
    {
        let is_hidden = |name: &String| command.find_subcommand(name).is_some_and(clap::Command::is_hide_set);
        let mut shown: Vec<String> = similar.iter().filter(|name| !is_hidden(name)).cloned().collect();
        if let Some(nearest) = nearest(wrong, shown.iter().map(String::as_str)) {
            shown = vec![nearest.to_owned()];
        }
        if shown.is_empty() {
            error.remove(ContextKind::SuggestedSubcommand);
        } else {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(shown));
        }
    }
    if let Some(meant) = command_line::meant(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![meant.into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognized_and_another_word_is_not() {
        let keys = ["slug", "audit", "network", "guest", "workspace", "egress", "git-gate", "supervise"];
        for (wrong, meant) in [
            ("slog", Some("slug")),
            ("gitgate", Some("git-gate")),
            ("git_gate", Some("git-gate")),
            ("Egress", Some("egress")),
            ("gusets", Some("guest")),
            ("superwise", Some("supervise")),
            ("bytes", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, keys), meant, "{wrong}");
        }
    }
}
