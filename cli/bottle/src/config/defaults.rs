//! A person's own defaults for all bottles: `config.toml` in the folder of their configuration.
//!
//! It may set what narrows a bottle or sizes it, and nothing that opens a way out: a host, a folder, a key or a
//! program belongs to a project, whose `bottle.toml` a person has looked at, and an image to a project or an agent. Its values are parsed by the same code
//! as those of `bottle.toml`, which goes before it.

use super::file::parse;
use super::found::{Found, shown};
use super::model::Config;
use super::named::Use;
use super::paths::{OnDisk, Site};
use super::source::Source;
use super::written::Written;
use bottle_core::specification::Workspace;
use bottle_core::upstream;
use bottle_host::failure::{Failure, Kind, Outcome};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::{env, fs};

/// The file's name.
pub const FILE: &str = "config.toml";

/// A key that the file may set.
struct Key {
    name: &'static str,
    /// How its value takes effect.
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Where `bottle.toml` does not set the key.
    Unless,
    /// In addition to what `bottle.toml` says.
    Besides,
}

const KEYS: [Key; 10] = [
    Key { name: "audit", how: How::Unless },
    Key { name: "egress.deny", how: How::Besides },
    Key { name: "egress.limits", how: How::Unless },
    Key { name: "guest.ca", how: How::Besides },
    Key { name: "guest.cpus", how: How::Unless },
    Key { name: "guest.env", how: How::Unless },
    Key { name: "guest.memory", how: How::Unless },
    Key { name: "network.stack", how: How::Unless },
    Key { name: "pool.warm", how: How::Unless },
    Key { name: "workspace.exclude", how: How::Besides },
];

/// A person's defaults, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The file, if there is one.
    pub file: Option<Found>,
    /// The keys that it sets.
    pub written: Vec<Written>,
    config: Config,
    exclude: Vec<String>,
}

/// Returns the names of the keys that the file may set.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// Returns the folder of a person's configuration: as the XDG base directory specification says.
pub fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME")
        .or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".config")))?;
    Some(config.join("bottle"))
}

impl Defaults {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] with file, line and key.
    pub fn find() -> Outcome<Self> {
        let path = folder().map(|folder| folder.join(FILE));
        // A home folder that this user may not enter is somebody else's.
        let is_own = |path: &PathBuf| {
            !fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let found = path.filter(is_own).map(|path| Found::at(&path)).transpose()?.flatten();
        found.map_or_else(|| Ok(Self::default()), Self::of)
    }

    /// Checks a file.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] with file, line and key.
    fn of(found: Found) -> Outcome<Self> {
        let source = Source::new(&found.path, &found.text);
        let written = Written::of(&found);
        if let Some(other) = written.iter().find(|key| !KEYS.iter().any(|known| key.is_in(known.name))) {
            let what = format!("`{}` cannot be set for all bottles", other.key);
            let names: Vec<&str> = names().collect();
            return Err(source
                .fail(Some(other.span.clone()), &what)
                .help(format!("it belongs into a project's bottle.toml; here may be {}", names.join(", "))));
        }
        // There is no project, so nothing is relative to one.
        let config = parse(&source, &Site { project: None, disk: &OnDisk, insisted: false })?;
        let is_whole = |path: &&String| path.starts_with('/') || path.starts_with("~/");
        if let Some(path) = list(&found.text, "guest", "ca").iter().find(|path| !is_whole(path)) {
            let span = written.iter().find(|key| key.is_in("guest.ca")).map(|key| key.span.clone());
            let what = format!("the path {path} has to be absolute, because it is for all projects");
            return Err(source.fail(span, &what).help("begin it with / or ~/"));
        }
        let exclude = list(&found.text, "workspace", "exclude");
        Ok(Self { file: Some(found), written, config, exclude })
    }

    /// Gives a configuration what it leaves open, and remembers where each of its values comes from.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if the two contradict each other.
    pub fn apply(&self, config: &mut Config) -> Outcome {
        let project = config.file.as_ref().map(Written::of).unwrap_or_default();
        config.written.clone_from(&project);
        config.defaults.clone_from(&self.file);
        for ours in &self.written {
            let how = KEYS.iter().find(|known| ours.is_in(known.name)).map(|known| known.how);
            let theirs = project.iter().find(|theirs| theirs.key == ours.key);
            match (how, theirs) {
                (Some(How::Unless), Some(theirs)) => {
                    config.overridden.push((ours.clone(), theirs.clone()));
                }
                _ => {
                    self.take(&ours.key, config);
                    config.written.push(ours.clone());
                }
            }
        }
        let conflict = upstream::check(&config.upstreams, |name| config.guest.env.contains_key(name));
        conflict.map_err(|conflict| {
            let file = self.file.as_ref().map(|found| shown(&found.path)).unwrap_or_default();
            Failure::new(Kind::Usage, format!("{file} and bottle.toml contradict each other: {conflict}"))
                .help("remove one of the two")
        })
    }

    /// Gives a configuration the value of one key.
    fn take(&self, key: &str, config: &mut Config) {
        let ours = &self.config;
        match key {
            "audit" => config.audit = ours.audit,
            "network.stack" => config.stack = ours.stack,
            "guest.cpus" => config.guest.cpus = ours.guest.cpus,
            "guest.memory" => config.guest.memory_mib = ours.guest.memory_mib,
            "guest.ca" => {
                config.authorities.extend(ours.authorities.iter().cloned());
                config.paths.extend(ours.paths_for(Use::Authority).cloned());
            }
            "egress.deny" => config.egress.deny.extend(ours.egress.deny.iter().cloned()),
            "pool.warm" => config.warm = ours.warm,
            "egress.limits.connections" => config.limits.connections = ours.limits.connections,
            "egress.limits.idle_seconds" => config.limits.idle_seconds = ours.limits.idle_seconds,
            "egress.limits.bytes_per_second" => config.limits.bytes_per_second = ours.limits.bytes_per_second,
            "workspace.exclude" => {
                if let Workspace::Copy { exclude, .. } = &mut config.workspace {
                    exclude.extend(self.exclude.iter().cloned());
                }
            }
            other => {
                let variable = other.strip_prefix("guest.env.").and_then(|name| name.parse().ok());
                if let Some((name, value)) = variable.and_then(|name| ours.guest.env.get_key_value(&name)) {
                    config.guest.env.insert(name.clone(), value.clone());
                }
            }
        }
    }
}

/// Returns the texts in a list of the file, as they are written there. Without a project, a configuration keeps no
/// patterns, and a path has no folder to be relative to.
fn list(text: &str, table: &str, key: &str) -> Vec<String> {
    let file: Option<toml::Table> = text.parse().ok();
    let list = file.as_ref().and_then(|file| file.get(table)?.get(key)?.as_array());
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
