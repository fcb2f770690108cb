//! An agent's profile: what a bottle needs to run it.

use bottle_core::egress::HostRule;
use bottle_core::text::{EnvName, ImageRef, Word};
use bottle_core::upstream::Preset;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

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
        if let Some(image) = profile.image.as_ref().filter(|image| image.as_str().starts_with('.')) {
            return Err(format!("the image {image} is relative, and a profile belongs to no folder"));
        }
        profile.files.iter().try_for_each(Seed::check)?;
        let apart =
            |(at, file): (usize, &Seed)| profile.files[..at].iter().try_for_each(|other| file.apart(other));
        profile.files.iter().enumerate().try_for_each(apart)?;
        Ok(profile)
    }
}

/// The longest part of a file's path, in bytes. A file system takes 255, and a draft has a longer name than its file.
const LONGEST_NAME: usize = 200;
/// The longest path, and the longest link, in bytes: less than a call takes (`PATH_MAX`).
const LONGEST_PATH: usize = 2000;

impl Seed {
    fn check(&self) -> Result<(), String> {
        let fail = |what: &str| Err(format!("the file {:?} {what}", self.path));
        let names: Vec<&str> = self.path.split('/').collect();
        if Path::new(&self.path).is_absolute() || names.contains(&"..") {
            return fail("is not below the home folder");
        }
        let is_name = |name: &&str| !name.is_empty() && *name != "." && name.len() <= LONGEST_NAME;
        if !names.iter().all(is_name) || self.path.contains('\0') || self.path.len() > LONGEST_PATH {
            return fail("has no path that a file can have");
        }
        match (&self.text, &self.link) {
            (Some(_), None) => Ok(()),
            (None, Some(to)) if to.is_empty() || to.contains('\0') || to.len() > LONGEST_PATH => {
                fail("leads nowhere: `link` is no path")
            }
            (None, Some(_)) => Ok(()),
            _ => fail("needs either `text` or `link`"),
        }
    }

    /// Checks that neither of two files is the other one, or in its way. Both end in one folder, whenever they are written.
    fn apart(&self, other: &Self) -> Result<(), String> {
        let (one, other) = (Path::new(&self.path), Path::new(&other.path));
        if one == other {
            return Err(format!("the file {one:?} is there twice"));
        }
        if one.starts_with(other) || other.starts_with(one) {
            return Err(format!("one of the files {other:?} and {one:?} would be a folder of the other"));
        }
        Ok(())
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
            "path = \"a/\"\ntext = \"x\"",
            "path = \"a//b\"\ntext = \"x\"",
            "path = \"./a\"\ntext = \"x\"",
            "path = \"a\\u0000\"\ntext = \"x\"",
            "path = \"a\"\nlink = \"\"",
            "path = \"a\"\nlink = \"\\u0000\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(Profile::parse("name = \"A\"\ncommand = []").is_err());
        assert!(parse(&format!("path = {:?}\ntext = \"x\"", "a".repeat(250))).is_err());
        assert!(Profile::parse("name = \"A\"\nimage = \"./root\"\ncommand = [\"a\"]").is_err());
    }

    /// What is below a link would be written where it leads, on this machine.
    #[test]
    fn no_file_is_another_one_or_below_it() {
        let both = |one: &str, other: &str| {
            let file = |path: &str, kind: &str| format!("[[file]]\npath = {path:?}\n{kind}\n");
            Profile::parse(&format!(
                "name = \"A\"\ncommand = [\"a\"]\n{}{}",
                file(one, "link = \"/x\""),
                file(other, "text = \"x\"\nalways = true")
            ))
        };
        assert!(both("a/b", "a/c").is_ok() && both("a", "ab").is_ok());
        for (one, other) in [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b"), ("a", "a/b/c/d")] {
            assert!(both(one, other).is_err(), "{one} {other}");
        }
    }
}
