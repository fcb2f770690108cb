//! Turns a person's configuration into a plan, with one port for each active sidecar.

use crate::authorities;
use crate::config::Config;
use crate::image::Chosen;
use crate::layer::{self, Kept};
use crate::made_from::MadeFrom;
use anyhow::{Context, Result};
use bottle_core::doors::Doors;
use bottle_core::plan::{Guest, Plan, Volume};
use bottle_core::ports;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::{
    MachineUser, Services, Setup, SetupKeep, SidecarForm, SidecarSpec, WORKSPACE, Workspace,
};
use bottle_core::stack::Stack;
use bottle_core::text::{ImageDigest, MountPath};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::rules::Changes;
use bottle_host::smolvm::Launch;
use bottle_host::state::{Folder, Home};
use bottle_sidecars::git::resolve;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// Everything that bottle decides before a bottle starts.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// What its keeper serves.
    pub services: Services,
    /// The project, if the guest works on a copy of it.
    pub copied: Option<(MountPath, Vec<String>)>,
    /// The user that the machine's process runs as.
    pub user: MachineUser,
    /// The image, if it comes from a registry.
    pub image: Option<Chosen>,
    /// The image that the setup made of it, if its results are kept so and it was made.
    pub kept: Option<Kept>,
    /// Whether a new machine would be made from something else than the one that is there.
    pub is_behind: bool,
}

impl Resolved {
    /// Returns whether the guest shares a folder that somebody on this host may change meanwhile. Nobody
    /// changes a copy.
    pub fn shares_what_others_change(&self) -> bool {
        self.plan.guest.volumes.len() > usize::from(self.copied.is_some())
    }

    /// Returns the image that the machine boots from, and the file that smolvm is given for it, if it comes from a registry and
    /// is known.
    pub fn boots_from(&self) -> Option<(&ImageDigest, &Path)> {
        match &self.kept {
            Some(kept) => Some((&kept.digest, kept.archive())),
            None => self.image.as_ref().and_then(|image| Some((image.digest()?, image.archive()?))),
        }
    }

    /// Returns how to start the machine's process.
    pub fn launch(&self) -> Launch {
        Launch { user: self.user, watches: self.shares_what_others_change() }
    }
}

/// Resolves a configuration. `made` is what the bottle's machine was made from, unless it is made anew.
///
/// # Errors
/// Returns an error if no port is free, or if the configuration contradicts itself.
pub fn resolve(
    slug: &Slug,
    config: &Config,
    stack: Stack,
    home: &Home,
    made: Option<&MadeFrom>,
) -> Outcome<Resolved> {
    let folder = &home.bottle(slug);
    let active: BTreeSet<Sidecar> = config.sidecars.keys().copied().collect();
    let hosted: BTreeSet<Sidecar> = active
        .iter()
        .copied()
        .filter(|sidecar| matches!(config.sidecars[sidecar], SidecarSpec::Command(_)))
        .collect();
    let running = folder.has_keeper().then(|| folder.read_plan().ok()).flatten().map(|plan| plan.doors);
    let ports = match running {
        // A bottle that runs keeps its ports, although one that was taken when it started may be free by now.
        Some(doors) if doors.iter().map(|(sidecar, _)| sidecar).eq(active.iter().copied()) => {
            doors.iter().collect()
        }
        // The ports that its own sidecars hold count as free.
        running => {
            let held = running.map(|doors| doors.ports()).unwrap_or_default();
            allocate(slug, &active, &hosted, &held)?
        }
    };
    let usage = |error: String| Failure::new(Kind::Usage, error);
    let doors = Doors::try_from(ports).map_err(|error| usage(error.to_string()))?;
    let forms = doors.iter().map(|(sidecar, port)| {
        let form = match &config.sidecars[&sidecar] {
            SidecarSpec::Builtin => SidecarForm::Builtin,
            SidecarSpec::Address(address) => SidecarForm::Address { address: *address },
            SidecarSpec::Command(words) => SidecarForm::Command {
                command: words.iter().map(|word| fill(word, port, slug, folder)).collect(),
                address: (Ipv4Addr::LOCALHOST, port).into(),
            },
        };
        (sidecar, form)
    });
    let image = Chosen::find(home, config.guest.image.as_ref())?;
    let kept = Kept::find(home, config, image.as_ref())?;
    let digests = (image.as_ref().and_then(Chosen::digest), kept.as_ref().map(|kept| &kept.digest));
    let is_behind = made.is_some_and(|made| digests != (Some(&made.image), made.setup.as_ref()));
    let (image, kept) = match made {
        Some(made) => (
            image.map(|image| image.as_made(home, &made.image)),
            made.setup.as_ref().map(|setup| Kept::of(home, setup)),
        ),
        None => (image, kept),
    };
    let setup = Setup {
        keep: if config.setup.is_empty() { SetupKeep::Disk } else { layer::keep(config)? },
        made: kept.as_ref().map(|kept| kept.digest.clone()),
        ..config.setup.clone()
    };
    let mut guest = guest(config, folder)?;
    if !config.authorities.is_empty() {
        for name in authorities::VARIABLES {
            let name = name.parse().map_err(anyhow::Error::from)?;
            let value = authorities::IN_GUEST.parse().map_err(anyhow::Error::from)?;
            guest.env.entry(name).or_insert(value);
        }
    }
    guest.image_digest = image.as_ref().and_then(Chosen::digest).cloned();
    let services = Services {
        sidecars: forms.collect(),
        audit: config.audit,
        limits: config.limits,
        git: config
            .git
            .iter()
            .map(|repo| resolve::resolve(repo, folder, &guest.volumes))
            .collect::<Outcome<_>>()?,
        notify: config.notify.clone(),
    };
    let mut rules = config.egress.clone();
    Changes::read(folder)?.apply(&mut rules);
    let plan = Plan::new(slug.clone(), stack, doors, guest, rules);
    let plan = plan.map_err(|error| usage(error.to_string()))?;
    let plan = plan.with_upstreams(config.upstreams.clone()).map_err(|error| usage(error.to_string()))?;
    let is_built_in = config.sidecars.get(&Sidecar::Pipelock) == Some(&SidecarSpec::Builtin);
    let plan = Plan {
        parent: if is_built_in { config.parent.parent()? } else { None },
        setup,
        agent: config.agent.as_ref().map(|agent| agent.name.clone()),
        publish: config.publish.clone(),
        ..plan
    };
    let copied = match &config.workspace {
        Workspace::Copy { of, exclude } => Some((of.clone(), exclude.clone())),
        Workspace::None | Workspace::Shared { .. } => None,
    };
    let shares = plan
        .guest
        .volumes
        .iter()
        .any(|volume| volume.writable && Path::new(volume.host.as_str()) != folder.copy());
    let root = rustix::process::geteuid().is_root();
    let user = if root && shares { MachineUser::Root } else { MachineUser::Smolvms };
    Ok(Resolved { plan, services, copied, user, image, kept, is_behind })
}

/// Returns the virtual machine, with the project's folder in it.
fn guest(config: &Config, folder: &Folder) -> Result<Guest> {
    let mut guest = config.guest.clone();
    let (host, writable) = match &config.workspace {
        Workspace::None => return Ok(guest),
        Workspace::Shared { host, writable } => (host.clone(), *writable),
        Workspace::Copy { .. } => {
            let copy = folder.copy();
            let copy = copy.to_str().context("the runtime folder's path is not UTF-8")?;
            (copy.parse().context("the runtime folder's path")?, true)
        }
    };
    let inside: MountPath = WORKSPACE.parse().context("the workspace's path")?;
    guest.workdir.get_or_insert_with(|| inside.clone());
    guest.volumes.insert(0, Volume { host, guest: inside, writable });
    Ok(guest)
}

/// Allocates ports. A sidecar that listens on the host's loopback gets a port that can be bound there now.
/// Inside the jail every port is free.
fn allocate(
    slug: &Slug,
    active: &BTreeSet<Sidecar>,
    hosted: &BTreeSet<Sidecar>,
    held: &BTreeSet<u16>,
) -> Outcome<BTreeMap<Sidecar, u16>> {
    let mut taken = BTreeSet::new();
    loop {
        let ports = ports::allocate(slug, active, &taken)
            .map_err(|error| Failure::new(Kind::Unavailable, error.to_string()))?;
        let busy: BTreeSet<u16> = ports
            .iter()
            .filter(|(sidecar, port)| {
                hosted.contains(sidecar)
                    && !held.contains(port)
                    && TcpListener::bind((Ipv4Addr::LOCALHOST, **port)).is_err()
            })
            .map(|(_, &port)| port)
            .collect();
        if busy.is_empty() {
            return Ok(ports);
        }
        taken.extend(busy);
    }
}

fn fill(word: &str, port: u16, slug: &Slug, folder: &Folder) -> String {
    word.replace("{port}", &port.to_string())
        .replace("{slug}", slug.as_str())
        .replace("{stage}", &folder.state().display().to_string())
}
