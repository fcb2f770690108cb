//! The keys of `bottle.toml`.

use super::git_gate::{GitGateTable, from_git_gate};
use super::model::{CPUS, Config, MEMORY_MIB};
use super::paths::Site;
use super::sidecar::{SidecarTable, sidecars};
use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
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
use bottle_host::workspace::exclude;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::de::{DeTable, Deserializer};

/// The least memory, in MiB, with which smolvm's kernel and agent come up.
const LEAST_MEMORY_MIB: u32 = 128;

/// The file that says what a bottle is. Every key has a default, and so has the file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "bottle.toml")]
struct File {
    /// The bottle's name. Default: the folder's name.
    slug: Option<Slug>,
    /// What happens when a line of the audit log cannot be written.
    #[serde(default)]
    audit: Need,
    /// How the guest's packets reach the doors.
    #[serde(default)]
    network: Table<NetworkTable>,
    /// The virtual machine.
    #[serde(default)]
    guest: Table<GuestTable>,
    /// What the guest has of the project's folder, at `/workspace`.
    #[serde(default)]
    workspace: Table<WorkspaceTable>,
    /// What the egress proxy lets through. Nothing, unless you say so.
    #[serde(default)]
    egress: Table<EgressTable>,
    /// Who serves the egress proxy. Default: bottle itself.
    pipelock: Option<Spanned<Table<SidecarTable>>>,
    /// The agent clones from here and pushes to here; you approve.
    #[serde(rename = "git-gate")]
    git_gate: Option<Spanned<Table<GitGateTable>>>,
    /// The agent may ask you for a host or an answer.
    supervise: Option<Spanned<Table<SidecarTable>>>,
    /// Origins that the egress proxy asks in the agent's name, with keys that the guest never has.
    #[serde(default, rename = "upstream")]
    upstreams: Vec<Spanned<Table<UpstreamTable>>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NetworkTable {
    /// The network stack at this machine's end.
    #[serde(default)]
    stack: StackChoice,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GuestTable {
    /// What it boots from: a reference, a root folder or a `docker save` archive. Default: bare Alpine.
    image: Option<ImageRef>,
    /// The number of processors, at most. Idle ones cost nothing.
    #[schemars(range(min = 1), extend("default" = CPUS))]
    cpus: Option<Spanned<u8>>,
    /// Memory in MiB, at most. Only memory that is used is taken.
    #[schemars(range(min = LEAST_MEMORY_MIB), extend("default" = MEMORY_MIB))]
    memory: Option<Spanned<u32>>,
    /// The folder in which commands start. Default: `/workspace`, if there is one.
    workdir: Option<MountPath>,
    /// Environment variables, except those that bottle sets itself.
    #[serde(default)]
    env: BTreeMap<EnvName, Spanned<Word>>,
    /// More folders of this machine.
    #[serde(default)]
    volumes: Vec<Spanned<Table<VolumeTable>>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VolumeTable {
    /// The folder on this machine, relative to the folder of `bottle.toml`.
    host: PathBuf,
    /// Where the guest finds it.
    guest: MountPath,
    /// Whether the guest may change it.
    #[serde(default)]
    writable: bool,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkspaceTable {
    /// How the guest has the project's folder.
    #[serde(default)]
    mode: WorkspaceMode,
    /// What is not copied, beside files like `.env`: patterns as in a `.gitignore`. A `.bottleignore` in the
    /// project adds to it.
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum WorkspaceMode {
    /// The folder itself.
    #[default]
    ReadWrite,
    /// The folder itself, which the guest cannot change.
    ReadOnly,
    /// A copy of its own: `bottle diff` shows what the guest changed, `bottle apply` takes it back.
    Copy,
    /// Nothing.
    None,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EgressTable {
    /// Hosts that may be reached: `example.com`, `*.example.com`, `example.com:443,8443`. The port is 443
    /// unless you name others.
    #[serde(default)]
    allow: Vec<HostRule>,
    /// Hosts that stay closed although a pattern of `allow` covers them.
    #[serde(default)]
    deny: Vec<HostPattern>,
    /// Allowed hosts that may resolve to an address that is not public.
    #[serde(default)]
    allow_private: Vec<HostPattern>,
    /// Allowed hosts to which a TLS connection may be opened that names no server.
    #[serde(default)]
    allow_no_sni: Vec<HostPattern>,
    /// Names that only the proxy knows, each with its address.
    #[serde(default)]
    hosts: BTreeMap<HostName, IpAddr>,
    /// What the proxy grants its clients.
    limits: Option<Spanned<Table<Limits>>>,
}

/// Returns the JSON Schema of the file.
pub fn schema(generator: SchemaGenerator) -> Schema {
    generator.into_root_schema_for::<File>()
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
        Config { slug: file.slug, audit: file.audit, stack: file.network.0.stack, ..Config::default() };
    guest(&mut config, file.guest.0, source, site)?;
    workspace(&mut config, file.workspace.0, source, site)?;
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
    let EgressTable { allow, deny, allow_private, allow_no_sni, hosts, limits } = file.egress.0;
    config.egress = bottle_core::egress::Rules { allow, deny, allow_private, allow_no_sni, hosts };
    if let Some(limits) = limits {
        let Limits { connections, idle_seconds, .. } = limits.get_ref().0;
        if connections == 0 || idle_seconds == 0 {
            let what = "connections and idle_seconds are at least 1";
            return Err(source.fail(Some(limits.span()), what));
        }
        config.limits = limits.into_inner().0;
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
        let VolumeTable { host, guest: inside, writable } = volume.into_inner().0;
        let written = site.beside(&host);
        let host = site.shared(&written).map_err(|what| source.fail(Some(span), &what))?;
        let named = site.named(Use::Volume, &written, Some(host.as_str().as_ref()));
        config.paths.push(Named { writable, ..named });
        guest.volumes.push(Volume { host, guest: inside, writable });
    }
    Ok(())
}

fn workspace(config: &mut Config, table: WorkspaceTable, source: &Source, site: &Site) -> Outcome {
    let WorkspaceTable { mode, exclude } = table;
    for pattern in &exclude {
        if let Err(what) = exclude::check(pattern.get_ref()) {
            return Err(source
                .fail(Some(pattern.span()), &what)
                .help("a pattern is written as in a .gitignore"));
        }
        if !matches!(mode, WorkspaceMode::Copy) {
            let what = "nothing is copied with this mode, so nothing can be excluded";
            return Err(source
                .fail(Some(pattern.span()), what)
                .help("`[workspace] mode = \"copy\"` copies the project"));
        }
    }
    let exclude = exclude.into_iter().map(Spanned::into_inner).collect();
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
        WorkspaceMode::Copy => Workspace::Copy { of: host, exclude },
        WorkspaceMode::None => Workspace::None,
    };
    Ok(())
}
