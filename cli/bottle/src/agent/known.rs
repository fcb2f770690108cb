//! The profiles that come with bottle, and those that a person has added.

use super::profile::Profile;
use crate::config::defaults;
use crate::config::found::{Found, shown};
use crate::suggest::nearest;
use crate::trust;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use std::fs;
use std::path::PathBuf;

/// The profiles that come with bottle. Each is a subcommand, too.
const BUILT_IN: [(&str, &str); 5] = [
    ("aider", include_str!("../../agents/aider.toml")),
    ("claude", include_str!("../../agents/claude.toml")),
    ("codex", include_str!("../../agents/codex.toml")),
    ("gemini", include_str!("../../agents/gemini.toml")),
    ("opencode", include_str!("../../agents/opencode.toml")),
];

/// Finds an agent's profile: a person's own, or else the one that comes with bottle.
///
/// # Errors
/// Returns [`Kind::Usage`] if there is none, if a person's own is wrong, or if a guest could have written that.
pub fn find(name: &Slug) -> Outcome<Profile> {
    let own = folder().map(|folder| folder.join(format!("{name}.toml")));
    let found = own.as_deref().map(Found::at).transpose();
    let found =
        found.map_err(|failure| failure.help("an agent's profile is a regular file of at most 1 MiB"))?;
    let (place, text) = match found.flatten() {
        Some(found) => {
            trust::own(&found)?;
            (shown(&found.path), found.text)
        }
        None => match BUILT_IN.into_iter().find(|(known, _)| *known == name.as_str()) {
            Some((known, text)) => (format!("the profile of {known}"), text.to_owned()),
            None => return Err(unknown(name, own)),
        },
    };
    Profile::parse(&text).map_err(|error| {
        Failure::new(Kind::Usage, format!("{place}: {}", error.trim_end()))
            .help("docs/agents.md has the keys of a profile")
    })
}

fn unknown(name: &Slug, own: Option<PathBuf>) -> Failure {
    let names = names();
    let failure = Failure::new(Kind::Usage, format!("bottle knows no agent {name}"));
    let place =
        own.map_or_else(String::new, |path| format!("; your own profile belongs into {}", path.display()));
    match nearest(name.as_str(), names.iter().map(Slug::as_str)) {
        Some(near) => failure.help(format!("did you mean {near}?{place}")),
        None => {
            let names: Vec<&str> = names.iter().map(Slug::as_str).collect();
            failure.help(format!("it knows {}{place}", names.join(", ")))
        }
    }
}

/// Returns the names of all agents, in order.
pub fn names() -> Vec<Slug> {
    let own = files().into_iter().filter_map(|name| name.strip_suffix(".toml")?.parse().ok());
    let mut names: Vec<Slug> = BUILT_IN.iter().filter_map(|(name, _)| name.parse().ok()).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the files among a person's own profiles whose names are no agent's.
pub fn misnamed() -> Vec<String> {
    let is_none =
        |name: &String| name.strip_suffix(".toml").is_some_and(|name| name.parse::<Slug>().is_err());
    files().into_iter().filter(is_none).collect()
}

fn files() -> Vec<String> {
    let entries = folder().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Returns the folder of a person's own profiles.
fn folder() -> Option<PathBuf> {
    Some(defaults::folder()?.join("agents"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_comes_with_bottle_is_valid() {
        for (name, text) in BUILT_IN {
            Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
