//! A configuration, checked.

use super::found::{Found, shown};
use super::named::{Named, Use};
use super::parent::ParentChoice;
use super::paths::Shared;
use super::places::Places;
use super::written::Written;
use crate::agent::profile::Profile;
use bottle_core::egress::{HostRule, Rules};
use bottle_core::plan::Guest;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::{
    Limits, Need, Published, Repo, Setup, SetupKeep, SidecarSpec, StackChoice, Workspace,
};
use bottle_core::upstream::Upstream;
use bottle_host::failure::{Failure, Kind, Outcome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bottle's name, if the file has one.
    pub slug: Option<Slug>,
    /// What to do if a line of the log cannot be written.
    pub audit: Need,
    /// The limits for clients of the built-in proxy.
    pub limits: Limits,
    /// Which program speaks TCP with the guest.
    pub stack: StackChoice,
    /// The agent that it is for.
    pub agent: Option<Agent>,
    /// The virtual machine.
    pub guest: Guest,
    /// What is installed in it before it is used.
    pub setup: Setup,
    /// More hosts that may be reached while it is installed, by whoever types the command. They are no part of what the
    /// bottle is: without them, a later start finds the same.
    pub setup_lent: Vec<HostRule>,
    /// Whether the file says that this is nothing, so that no profile adds to it.
    pub has_no_setup: bool,
    /// Where its results are kept, if the file says so.
    pub setup_keep: Option<SetupKeep>,
    /// The files of the certificate authorities that it trusts beside the usual ones.
    pub authorities: Vec<PathBuf>,
    /// How the machine gets the project's folder.
    pub workspace: Workspace,
    /// The active sidecars.
    pub sidecars: BTreeMap<Sidecar, SidecarSpec>,
    /// What the built-in egress proxy lets through.
    pub egress: Rules,
    /// The proxy through which it leaves this machine.
    pub parent: ParentChoice,
    /// The origins that it asks in the agent's name.
    pub upstreams: Vec<Upstream>,
    /// The repositories of the built-in git-gate.
    pub git: Vec<Repo>,
    /// The command that tells a person what happens, with its arguments.
    pub notify: Vec<String>,
    /// The guest's ports that this machine can reach.
    pub publish: Vec<Published>,
    /// How many machines like this bottle's are kept ready for runs. Only a person's own defaults say so.
    pub warm: u8,
    /// The folder that the file is in: the project.
    pub project: Option<PathBuf>,
    /// Every path of this machine that the file names.
    pub paths: Vec<Named>,
    /// The sensitive files and folders that the file allows.
    pub allow_sensitive: Vec<PathBuf>,
    /// The sensitive places that the guest gets, each with the consent for it.
    pub exposed: Vec<Shared>,
    /// Positions in the file that later checks point at.
    pub places: Places,
    /// The file.
    pub file: Option<Found>,
    /// The nearer folders, which have no such file.
    pub passed: Vec<PathBuf>,
    /// The file of a person's defaults for all bottles.
    pub defaults: Option<Found>,
    /// The keys that were set, each with its file.
    pub written: Vec<Written>,
    /// The defaults that do not count, because the file sets the same key.
    pub overridden: Vec<(Written, Written)>,
}

/// The agent that a bottle is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The name of its profile.
    pub name: Slug,
    /// The profile, once it was found and applied.
    pub profile: Option<Profile>,
}

/// The default processors and memory: those of smolvm. Only touched memory is taken from the host.
pub(super) const CPUS: u8 = 4;
pub(super) const MEMORY_MIB: u32 = 8192;

impl Default for Config {
    fn default() -> Self {
        Self {
            slug: None,
            audit: Need::default(),
            limits: Limits::default(),
            stack: StackChoice::default(),
            agent: None,
            setup: Setup::default(),
            setup_lent: Vec::new(),
            has_no_setup: false,
            setup_keep: None,
            authorities: Vec::new(),
            guest: Guest {
                image: None,
                image_digest: None,
                cpus: CPUS,
                memory_mib: MEMORY_MIB,
                workdir: None,
                volumes: Vec::new(),
                env: BTreeMap::new(),
            },
            workspace: Workspace::None,
            sidecars: BTreeMap::from([(Sidecar::Pipelock, SidecarSpec::Builtin)]),
            egress: Rules::default(),
            parent: ParentChoice::default(),
            upstreams: Vec::new(),
            git: Vec::new(),
            notify: Vec::new(),
            publish: Vec::new(),
            warm: 0,
            project: None,
            paths: Vec::new(),
            allow_sensitive: Vec::new(),
            exposed: Vec::new(),
            places: Places::default(),
            file: None,
            passed: Vec::new(),
            defaults: None,
            written: Vec::new(),
            overridden: Vec::new(),
        }
    }
}

impl Config {
    /// Returns whether the guest can write to this file of the host.
    pub fn guest_can_write(&self, file: &Path) -> bool {
        self.writable().any(|host| file.starts_with(host))
    }

    /// Returns the bottle's name: from the command line, from the file, or from its folder's name.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if none of them gives a name.
    pub fn slug(&self, named: Option<Slug>, here: &Path) -> Outcome<Slug> {
        let folder = self.project.as_deref().unwrap_or(here);
        named
            .or_else(|| self.slug.clone())
            .or_else(|| folder.file_name().and_then(|name| name.to_str()).and_then(Slug::from_name))
            .ok_or_else(|| {
                Failure::new(Kind::Usage, format!("the folder {} gives a bottle no name", shown(folder)))
                    .help("name it on the command line, or with `slug = \"...\"` in bottle.toml")
            })
    }

    /// Returns the host paths that are for this purpose.
    pub fn paths_for(&self, is_for: Use) -> impl Iterator<Item = &Named> {
        self.paths.iter().filter(move |path| path.is_for == is_for)
    }

    /// Returns the folders that this configuration's guest can write, except its copy of the project.
    pub fn writable(&self) -> impl Iterator<Item = &str> {
        let volumes = self.guest.volumes.iter().filter(|volume| volume.writable).map(|volume| &volume.host);
        let workspace = match &self.workspace {
            Workspace::Shared { host, writable: true } => Some(host),
            _ => None,
        };
        volumes.chain(workspace).map(bottle_core::text::MountPath::as_str)
    }
}
