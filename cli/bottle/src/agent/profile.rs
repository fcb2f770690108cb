//! An agent's profile: what a bottle needs to run it.

use bottle_core::egress::HostRule;
use bottle_core::text::{EnvName, ImageRef, Word};
use bottle_core::upstream::Preset;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// What a bottle needs to run an agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The agent's own name, for people.
    pub name: String,
    /// What the machine boots from, unless `bottle.toml` says.
    pub image: Option<ImageRef>,
    /// Commands that install it, each for a shell in the guest.
    #[serde(default)]
    pub setup: Vec<Word>,
    /// Hosts that these commands need.
    #[serde(default)]
    pub setup_allow: Vec<HostRule>,
    /// The command that starts it, to which a person's own arguments are added.
    pub command: Vec<Word>,
    /// A command that shows that it is installed.
    #[serde(default)]
    pub smoke: Vec<Word>,
    /// Variables that it needs.
    #[serde(default)]
    pub env: BTreeMap<EnvName, Word>,
    /// Hosts that it needs while it works.
    #[serde(default)]
    pub allow: Vec<HostRule>,
    /// The APIs that it asks, with keys that stay on the host.
    #[serde(default)]
    pub upstreams: Vec<Preset>,
    /// Files that it finds in its home folder.
    #[serde(default, rename = "file")]
    pub files: Vec<Seed>,
}

/// A file in an agent's home folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Its path below the home folder.
    pub path: String,
    /// What it holds. `${NAME}` is the value of the guest's variable of that name.
    pub text: Option<String>,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// Whether it is written at each start. Otherwise it is written where nothing is.
    #[serde(default)]
    pub always: bool,
}

impl Profile {
    /// Parses a profile.
    ///
    /// # Errors
    /// Returns what is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if profile.command.first().is_none_or(|program| program.as_str().is_empty()) {
            return Err("`command` names no program".to_owned());
        }
        profile.files.iter().try_for_each(Seed::check)?;
        Ok(profile)
    }
}

impl Seed {
    fn check(&self) -> Result<(), String> {
        let parts: Vec<Component> = Path::new(&self.path).components().collect();
        if parts.is_empty() || !parts.iter().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("the file {:?} is not below the home folder", self.path));
        }
        match (&self.text, &self.link) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err(format!("the file {:?} needs either `text` or `link`", self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_below_the_home_folder_and_is_one_thing() {
        let parse =
            |file: &str| Profile::parse(&format!("name = \"A\"\ncommand = [\"a\"]\n[[file]]\n{file}"));
        assert!(parse("path = \".a/b\"\ntext = \"x\"").is_ok());
        for bad in [
            "path = \"/etc/passwd\"\ntext = \"x\"",
            "path = \"../x\"\ntext = \"x\"",
            "path = \"a/../../x\"\ntext = \"x\"",
            "path = \"\"\ntext = \"x\"",
            "path = \"a\"",
            "path = \"a\"\ntext = \"x\"\nlink = \"y\"",
            "path = \"a\"\ntext = \"x\"\nmode = 7",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(Profile::parse("name = \"A\"\ncommand = []").is_err());
    }
}
