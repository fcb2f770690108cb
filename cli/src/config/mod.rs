//! `bottle.toml`: what a person wants of a bottle. Every key has a default, and so has the file.

mod file;
pub mod found;
mod git_gate;
pub mod paths;
mod source;
mod upstream;

pub use file::parse;
pub use found::Found;
pub use source::Source;

use crate::failure::{Failure, Kind, Outcome};
use crate::git::Repo;
use crate::http::Limits;
use crate::keeper::audit::Need;
use crate::trust::pins::{self, Named};
use bottle_core::egress::Rules;
use bottle_core::plan::Guest;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::text::MountPath;
use bottle_core::upstream::Upstream;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file's name.
pub const FILE: &str = "bottle.toml";

/// What a person wants, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bottle's name, where the file says one.
    pub slug: Option<Slug>,
    /// What a line of the log that cannot be written means.
    pub audit: Need,
    /// What the built-in proxy grants its clients.
    pub limits: Limits,
    /// Who speaks TCP with the guest.
    pub stack: StackChoice,
    /// The virtual machine.
    pub guest: Guest,
    /// The project's folder in it.
    pub workspace: Workspace,
    /// The active sidecars.
    pub sidecars: BTreeMap<Sidecar, SidecarConfig>,
    /// What the built-in egress proxy lets through.
    pub egress: Rules,
    /// Origins that it asks in the agent's name.
    pub upstreams: Vec<Upstream>,
    /// The repositories of the built-in git-gate.
    pub git: Vec<Repo>,
    /// The folder that the file is in: the project.
    pub project: Option<PathBuf>,
    /// Every path of this machine that the file names.
    pub paths: Vec<Named>,
    /// The file.
    pub file: Option<Found>,
    /// The nearer folders in which there is none.
    pub passed: Vec<PathBuf>,
}

/// Which network stack a person wants: [`bottle_core::stack::Stack`] says what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackChoice {
    /// The installed gvproxy.
    #[default]
    Gvproxy,
    /// The host's kernel.
    Kernel,
}

/// What the guest has of the project's folder, at [`WORKSPACE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// Nothing.
    None,
    /// The folder itself.
    Shared {
        /// The folder.
        host: MountPath,
        /// Whether the guest may change it.
        writable: bool,
    },
    /// A copy of its own; `bottle diff` and `bottle apply` show and take back what it changed.
    Copy {
        /// The folder that is copied when the bottle is made.
        of: MountPath,
    },
}

/// Where the project is in the guest.
pub const WORKSPACE: &str = "/workspace";

/// How a person wants a sidecar served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SidecarConfig {
    /// By the keeper itself.
    Builtin,
    /// By a program that the keeper starts; `{port}`, `{slug}` and `{stage}` are filled in.
    Command(Vec<String>),
    /// By a program that runs already.
    Address(SocketAddr),
}

/// Processors and memory where nobody says otherwise: smolvm's own defaults. Only touched memory
/// is taken from the host.
const CPUS: u8 = 4;
const MEMORY_MIB: u32 = 8192;

impl Default for Config {
    fn default() -> Self {
        Self {
            slug: None,
            audit: Need::default(),
            limits: Limits::default(),
            stack: StackChoice::default(),
            guest: Guest {
                image: None,
                cpus: CPUS,
                memory_mib: MEMORY_MIB,
                workdir: None,
                volumes: Vec::new(),
                env: BTreeMap::new(),
            },
            workspace: Workspace::None,
            sidecars: BTreeMap::from([(Sidecar::Pipelock, SidecarConfig::Builtin)]),
            egress: Rules::default(),
            upstreams: Vec::new(),
            git: Vec::new(),
            project: None,
            paths: Vec::new(),
            file: None,
            passed: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the file that was named, or the nearest one from `start` upwards, as git finds its
    /// folder. Without one, the defaults. `insisted`: share also what is better kept from a guest.
    ///
    /// # Errors
    /// [`Kind::Usage`] with file, line and key.
    pub fn find(named: Option<&Path>, start: &Path, insisted: bool) -> Outcome<Self> {
        let search = Found::search(named, start)?;
        let Some(found) = search.found else {
            return Ok(Self { passed: search.passed, ..Self::default() });
        };
        let mut config = found.parse(named, insisted)?;
        config.file = Some(found);
        config.passed = search.passed;
        Ok(config)
    }

    /// Whether the guest can write to this file of the host.
    pub fn guest_can_write(&self, file: &Path) -> bool {
        pins::writable(self).any(|host| file.starts_with(host))
    }

    /// The bottle's name: what the command line says, what the file says, or what its folder is called.
    ///
    /// # Errors
    /// [`Kind::Usage`] where none of them gives a name.
    pub fn slug(&self, named: Option<Slug>, here: &Path) -> Outcome<Slug> {
        let folder = self.project.as_deref().unwrap_or(here);
        named
            .or_else(|| self.slug.clone())
            .or_else(|| folder.file_name().and_then(|name| name.to_str()).and_then(Slug::from_name))
            .ok_or_else(|| {
                Failure::new(
                    Kind::Usage,
                    format!("the folder {} gives a bottle no name", found::shown(folder)),
                )
                .help("name it on the command line, or with `slug = \"...\"` in bottle.toml")
            })
    }
}
