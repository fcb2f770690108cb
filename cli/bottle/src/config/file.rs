//! The keys of `bottle.toml`.

use super::git_gate::{GitGateTable, from_git_gate};
use super::model::Config;
use super::paths::Site;
use super::source::Source;
use super::spanned::Spanned;
use super::upstream::{UpstreamTable, from_table};
use super::{shape, syntax};
use crate::config::named::{Named, Use};
use bottle_core::egress::{HostName, HostPattern, HostRule};
use bottle_core::environment;
use bottle_core::plan::{ReservedVariable, Volume};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::{Limits, Need, SidecarSpec, StackChoice, Workspace};
use bottle_core::text::{EnvName, ImageRef, MountPath, Word};
use bottle_core::upstream::{self, SecretSource};
use bottle_host::failure::Outcome;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use toml::de::{DeTable, Deserializer};

/// The least memory, in MiB, with which smolvm's kernel and agent come up.
const LEAST_MEMORY_MIB: u32 = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    slug: Option<Slug>,
    #[serde(default)]
    audit: Need,
    #[serde(default)]
    network: NetworkTable,
    #[serde(default)]
    guest: GuestTable,
    #[serde(default)]
    workspace: WorkspaceTable,
    #[serde(default)]
    egress: EgressTable,
    pipelock: Option<Spanned<SidecarTable>>,
    #[serde(rename = "git-gate")]
    git_gate: Option<Spanned<GitGateTable>>,
    supervise: Option<Spanned<SidecarTable>>,
    #[serde(default, rename = "upstream")]
    upstreams: Vec<Spanned<UpstreamTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkTable {
    #[serde(default)]
    stack: StackChoice,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestTable {
    image: Option<ImageRef>,
    cpus: Option<Spanned<u8>>,
    memory: Option<Spanned<u32>>,
    workdir: Option<MountPath>,
    #[serde(default)]
    env: BTreeMap<EnvName, Spanned<Word>>,
    #[serde(default)]
    volumes: Vec<Spanned<VolumeTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VolumeTable {
    host: PathBuf,
    guest: MountPath,
    #[serde(default)]
    writable: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceTable {
    #[serde(default)]
    mode: WorkspaceMode,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WorkspaceMode {
    #[default]
    ReadWrite,
    ReadOnly,
    Copy,
    None,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EgressTable {
    #[serde(default)]
    allow: Vec<HostRule>,
    #[serde(default)]
    deny: Vec<HostPattern>,
    #[serde(default)]
    allow_private: Vec<HostPattern>,
    #[serde(default)]
    allow_no_sni: Vec<HostPattern>,
    #[serde(default)]
    hosts: BTreeMap<HostName, IpAddr>,
    limits: Option<Spanned<Limits>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SidecarTable {
    pub address: Option<SocketAddr>,
    pub command: Option<Vec<String>>,
}

/// Reads a file's text.
///
/// # Errors
/// With file, line and key.
pub fn parse(source: &Source, site: &Site) -> Outcome<Config> {
    let document = DeTable::parse(source.text()).map_err(|error| syntax::failure(source, &error))?;
    let file = File::deserialize(Deserializer::from(document));
    let file = file.map_err(|error| shape::failure(source, &error))?;
    let mut config =
        Config { slug: file.slug, audit: file.audit, stack: file.network.stack, ..Config::default() };
    guest(&mut config, file.guest, source, site)?;
    workspace(&mut config, file.workspace.mode, source, site)?;
    let git_gate = match file.git_gate {
        Some(table) => Some(from_git_gate(table, &mut config, source, site)?),
        None => None,
    };
    sidecars(
        &mut config,
        [
            (Sidecar::Pipelock, file.pipelock),
            (Sidecar::GitGate, git_gate),
            (Sidecar::Supervise, file.supervise),
        ],
        source,
    )?;
    for form in config.sidecars.values() {
        if let SidecarSpec::Command(words) = form {
            config.paths.extend(site.programs(words.iter().map(String::as_str)));
        }
    }
    let EgressTable { allow, deny, allow_private, allow_no_sni, hosts, limits } = file.egress;
    config.egress = bottle_core::egress::Rules { allow, deny, allow_private, allow_no_sni, hosts };
    if let Some(limits) = limits {
        let Limits { connections, idle_seconds, .. } = *limits.get_ref();
        if connections == 0 || idle_seconds == 0 {
            let what = "connections and idle_seconds are at least 1";
            return Err(source.fail(Some(limits.span()), what));
        }
        config.limits = limits.into_inner();
    }
    for table in file.upstreams {
        let span = table.span();
        let upstream = from_table(table, source, site.project.as_deref())?;
        for secret in upstream.headers.values() {
            match &secret.source {
                SecretSource::File(path) => config.paths.push(site.named(Use::Secret, path.as_ref(), None)),
                SecretSource::Command(words) => {
                    config.paths.extend(site.programs(words.iter().map(Word::as_str)));
                }
                SecretSource::Env(_) => {}
            }
        }
        config.upstreams.push(upstream);
        // One by one, so that the table that is too many is pointed at.
        upstream::check(&config.upstreams, |name| config.guest.env.contains_key(name))
            .map_err(|conflict| source.fail(Some(span), &conflict.to_string()))?;
    }
    config.project.clone_from(&site.project);
    Ok(config)
}

fn guest(config: &mut Config, table: GuestTable, source: &Source, site: &Site) -> Outcome {
    let guest = &mut config.guest;
    let image = table.image.map(|image| site.image(image, &mut config.paths)).transpose();
    guest.image = image.map_err(|what| source.fail(None, &what))?;
    guest.workdir = table.workdir;
    for (name, value) in table.env {
        if environment::is_reserved(name.as_str()) {
            return Err(source.fail(Some(value.span()), &ReservedVariable(name.to_string()).to_string()));
        }
        guest.env.insert(name, value.into_inner());
    }
    if let Some(cpus) = table.cpus {
        if *cpus.get_ref() == 0 {
            return Err(source.fail(Some(cpus.span()), "a guest has at least one processor"));
        }
        guest.cpus = cpus.into_inner();
    }
    if let Some(memory) = table.memory {
        if *memory.get_ref() < LEAST_MEMORY_MIB {
            let what = format!("a guest has at least {LEAST_MEMORY_MIB} MiB of memory");
            return Err(source.fail(Some(memory.span()), &what));
        }
        guest.memory_mib = memory.into_inner();
    }
    for volume in table.volumes {
        let span = volume.span();
        let VolumeTable { host, guest: inside, writable } = volume.into_inner();
        let written = site.beside(&host);
        let host = site.shared(&written).map_err(|what| source.fail(Some(span), &what))?;
        let named = site.named(Use::Volume, &written, Some(host.as_str().as_ref()));
        config.paths.push(Named { writable, ..named });
        guest.volumes.push(Volume { host, guest: inside, writable });
    }
    Ok(())
}

fn workspace(config: &mut Config, mode: WorkspaceMode, source: &Source, site: &Site) -> Outcome {
    let Some(project) = &site.project else { return Ok(()) };
    if matches!(mode, WorkspaceMode::None) {
        return Ok(());
    }
    let host = site.shared(project).map_err(|what| {
        source.fail(None, &what).help("`[workspace] mode = \"none\"` gives the guest no folder")
    })?;
    let named = site.named(Use::Workspace, project, Some(host.as_str().as_ref()));
    config.paths.push(Named { writable: matches!(mode, WorkspaceMode::ReadWrite), ..named });
    config.workspace = match mode {
        WorkspaceMode::ReadWrite => Workspace::Shared { host, writable: true },
        WorkspaceMode::ReadOnly => Workspace::Shared { host, writable: false },
        WorkspaceMode::Copy => Workspace::Copy { of: host },
        WorkspaceMode::None => Workspace::None,
    };
    Ok(())
}

fn sidecars(
    config: &mut Config,
    tables: [(Sidecar, Option<Spanned<SidecarTable>>); 3],
    source: &Source,
) -> Outcome {
    for (sidecar, table) in tables {
        let Some(table) = table else { continue };
        let span = table.span();
        let fail = |what: &str| Err(source.fail(Some(span.clone()), what));
        let form = match table.into_inner() {
            SidecarTable { address: Some(_), command: Some(_) } => {
                return fail("a sidecar has an address or a command, not both");
            }
            SidecarTable { address: Some(address), .. } => SidecarSpec::Address(address),
            SidecarTable { command: Some(words), .. } if words.is_empty() => {
                return fail("the command is empty");
            }
            SidecarTable { command: Some(words), .. } => SidecarSpec::Command(words),
            SidecarTable { .. } => SidecarSpec::Builtin,
        };
        let shared = config.sidecars.iter().find(|(other, known)| {
            **other != sidecar && matches!(known, SidecarSpec::Address(_)) && **known == form
        });
        if let Some((other, _)) = shared {
            return fail(&format!("{sidecar} and {other} cannot share an address"));
        }
        config.sidecars.insert(sidecar, form);
    }
    Ok(())
}
