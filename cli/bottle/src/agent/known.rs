//! The profiles that come with bottle, and those that a person has added.

use super::profile::Profile;
use crate::config::defaults;
use crate::suggest::nearest;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::read_short;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The profiles that come with bottle. Each is a subcommand, too.
const BUILT_IN: [(&str, &str); 5] = [
    ("aider", include_str!("../../agents/aider.toml")),
    ("claude", include_str!("../../agents/claude.toml")),
    ("codex", include_str!("../../agents/codex.toml")),
    ("gemini", include_str!("../../agents/gemini.toml")),
    ("opencode", include_str!("../../agents/opencode.toml")),
];
/// The longest profile, in bytes.
const LONGEST: u64 = 1 << 20;

/// Finds an agent's profile: a person's own, or else the one that comes with bottle.
///
/// # Errors
/// Returns [`Kind::Usage`] if there is none, or if a person's own is wrong.
pub fn find(name: &Slug) -> Outcome<Profile> {
    let own = folder().map(|folder| folder.join(format!("{name}.toml")));
    let built_in = || BUILT_IN.into_iter().find(|(known, _)| *known == name.as_str());
    let (place, text) = match own.as_deref().map(|path| (path, read_short(path, LONGEST))) {
        Some((path, Ok(text))) => (path.display().to_string(), text),
        Some((path, Err(error))) if error.kind() != ErrorKind::NotFound => {
            return Err(Failure::new(Kind::Usage, format!("{}: {error}", path.display()))
                .help("an agent's profile is a file of at most 1 MiB"));
        }
        _ => match built_in() {
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
    match nearest(name.as_str(), names.iter().map(String::as_str)) {
        Some(near) => failure.help(format!("did you mean {near}?{place}")),
        None => failure.help(format!("it knows {}{place}", names.join(", "))),
    }
}

/// Returns the names of all agents, in order.
pub fn names() -> Vec<String> {
    let own = folder().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let own = own.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".toml")?.parse::<Slug>().ok().map(|name| name.to_string())
    });
    let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect();
    names.sort();
    names.dedup();
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
