//! What an agent finds in its guest beside the helper: its own files, and the guide to the sandbox.

use super::guide::guide;
use crate::authorities;
use crate::config::Config;
use crate::resolve::Resolved;
use anyhow::{Context, Result, ensure};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::remove_dir;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The files, rendered but not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equipment {
    guide: String,
    seeds: Vec<(PathBuf, Content)>,
    authorities: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Link(String),
}

impl Equipment {
    /// Renders the files for a plan.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if a file of the profile needs a variable that this guest does not have, or if a
    /// certificate authority cannot be read.
    pub fn of(resolved: &Resolved, config: &Config) -> Outcome<Self> {
        let environment = resolved.plan.environment();
        let profile = config.agent.as_ref().and_then(|agent| agent.profile.as_ref());
        let mut seeds = Vec::new();
        for seed in profile.iter().flat_map(|profile| &profile.files) {
            let below = Path::new(if seed.always { "always" } else { "new" }).join(&seed.path);
            let content = match (&seed.text, &seed.link) {
                (Some(text), _) => {
                    Content::Text(filled(text.trim_start_matches('\n'), &environment).map_err(|name| {
                        let what = format!("the agent's file ~/{} needs the variable {name}", seed.path);
                        Failure::new(Kind::Usage, what)
                            .help("a sidecar or an upstream sets it: bottle.toml lacks one")
                    })?)
                }
                (None, link) => Content::Link(link.clone().unwrap_or_default()),
            };
            seeds.push((below, content));
        }
        Ok(Self { guide: guide(resolved), seeds, authorities: authorities::bundle(&config.authorities)? })
    }

    /// Writes the files into the folder that the guest sees. A guest that runs sees the old ones or the new ones.
    ///
    /// # Errors
    /// Returns an error if one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (seeds, draft) = (folder.join("seed"), folder.join("seed.draft"));
        remove_dir(&draft)?;
        make_folder(&draft)?;
        for (path, content) in &self.seeds {
            let path = draft.join(path);
            let above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != draft).collect();
            above.into_iter().rev().try_for_each(make_folder)?;
            match content {
                Content::Text(text) => write_new(&path, text)?,
                Content::Link(to) => symlink(to, &path).with_context(|| path.display().to_string())?,
            }
        }
        remove_dir(&seeds)?;
        fs::rename(&draft, &seeds).with_context(|| seeds.display().to_string())?;
        let bundle = folder.join("ca.pem");
        match &self.authorities {
            Some(text) => write(&bundle, text)?,
            None => _ = fs::remove_file(&bundle),
        }
        write(&folder.join("GUIDE.md"), &self.guide)
    }
}

/// Replaces each `${NAME}`.
fn filled(text: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').ok_or_else(|| part.to_owned())?;
        filled.push_str(environment.get(name).ok_or_else(|| name.to_owned())?);
        filled.push_str(rest);
    }
    Ok(filled)
}

/// Makes a folder, unless it is there. It may not be a link: what follows would be written where that leads. The guest's
/// users can read it, and they may not be the one that the machine's process is here.
fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
            ensure!(there.is_dir(), "{} is no folder", path.display());
            return Ok(());
        }
        made => made.with_context(|| path.display().to_string())?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).with_context(|| path.display().to_string())
}

/// Writes a file where nothing is, and follows no link.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))
    });
    written.with_context(|| path.display().to_string())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_added_extension("draft");
    let written = fs::write(&draft, text)
        .and_then(|()| fs::set_permissions(&draft, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&draft, path));
    written.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile is checked when it is read. Whatever that lets through, nothing is written behind a link.
    #[test]
    fn nothing_is_written_where_a_link_of_the_profile_leads() {
        let outside = tempfile::tempdir().unwrap();
        let link = |path: &str, to: &Path| (PathBuf::from(path), Content::Link(to.display().to_string()));
        let text = |path: &str| (PathBuf::from(path), Content::Text("text".to_owned()));
        let theirs = outside.path().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        let write = |seeds: Vec<(PathBuf, Content)>| {
            let folder = tempfile::tempdir().unwrap();
            Equipment { guide: String::new(), seeds, authorities: None }.write(folder.path())
        };
        fs::set_permissions(outside.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(write(vec![link("new/d", outside.path()), text("new/d/theirs")]).is_err());
        assert!(write(vec![link("new/d", outside.path()), text("new/d/more")]).is_err());
        assert!(write(vec![link("new/a", &theirs), text("new/a")]).is_err());
        assert!(write(vec![link("new/a.draft", &theirs), text("new/a")]).is_ok());
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(outside.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_variable_is_filled_in_and_a_missing_one_is_named() {
        let environment = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, expected) in [
            ("", Ok("")),
            ("{\"a\": \"$5\"}", Ok("{\"a\": \"$5\"}")),
            ("${A}/${A}", Ok("x/x")),
            ("<${B}>", Err("B")),
            ("${A", Err("A")),
        ] {
            assert_eq!(
                filled(text, &environment),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
