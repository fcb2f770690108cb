//! "Did you mean": the name that a person may have had in mind.

use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind};
use bottle_host::state::Home;

/// Returns the known word that is most like `wrong`, if one is so much like it that it was probably meant:
/// at most a third of the letters differ.
pub fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |word: &str| word.to_lowercase().replace('_', "-");
    let wrong = plain(wrong);
    let distance = |word: &'k str| (strsim::damerau_levenshtein(&wrong, &plain(word)), word);
    let near = |(distance, word): &(usize, &str)| {
        *distance <= (wrong.chars().count().max(word.chars().count()) / 3).max(1) && *distance < wrong.len()
    };
    known.into_iter().map(distance).filter(near).min().map(|(_, word)| word)
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

/// Returns the names of this user's bottles, in order.
pub fn bottles() -> Vec<Slug> {
    let folders = Home::find().ok().and_then(|home| home.bottles().ok());
    folders.unwrap_or_default().iter().map(|folder| folder.slug().clone()).collect()
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
