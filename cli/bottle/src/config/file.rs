//! The keys of `bottle.toml`.

use super::git_gate::{GitGateTable, from_git_gate};
use super::model::{Agent, CPUS, Config, MEMORY_MIB};
use super::mounts::Mounts;
use super::parent::{ParentChoice, ParentTable};
use super::paths::Site;
use super::places::{Item, Places};
use super::sidecar::{SidecarTable, sidecars};
use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use super::upstream::{UpstreamTable, from_table, whole};
use super::{shape, syntax};
use crate::config::named::{Named, Use};
use bottle_core::egress::{HostName, HostPattern, HostRule};
use bottle_core::environment;
use bottle_core::plan::{ReservedVariable, Volume};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::{
    Limits, Need, Published, Setup, SetupKeep, SidecarSpec, StackChoice, Workspace,
};
use bottle_core::text::{EnvName, ImageRef, MountPath, Word};
use bottle_core::upstream::{self, Secret, SecretSource};
use bottle_host::failure::Outcome;
use bottle_host::pool;
use bottle_host::workspace::exclude;
use bottle_sidecars::egress::public_suffix::{self, TooWide};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use toml::de::{DeTable, Deserializer};

/// The least memory, in MiB, that smolvm's kernel and agent need to start.
const LEAST_MEMORY_MIB: u32 = 128;

/// The file that describes a bottle. Every key has a default, and so has the file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "bottle.toml")]
struct File {
    /// The bottle's name. Default: the folder's name.
    slug: Option<Slug>,
    /// The agent that the bottle is for, such as `claude`: what the file leaves open comes from the agent's profile.
    agent: Option<Slug>,
    /// What happens when a line of the audit log cannot be written.
    #[serde(default)]
    audit: Need,
    /// Sensitive files and folders of this machine that a guest may have, such as `~/.aws`. Each one that a
    /// shared folder is, contains or belongs to has to be listed. Listing a folder does not allow the
    /// sensitive ones in it.
    #[serde(default, rename = "allow-sensitive")]
    allow_sensitive: Vec<PathBuf>,
    /// How the guest's packets reach the doors.
    #[serde(default)]
    network: Table<NetworkTable>,
    /// The virtual machine.
    #[serde(default)]
    guest: Table<GuestTable>,
    /// How the guest gets the project's folder, at `/workspace`.
    #[serde(default)]
    workspace: Table<WorkspaceTable>,
    /// What the egress proxy lets through. Default: nothing.
    #[serde(default)]
    egress: Table<EgressTable>,
    /// Who serves the egress proxy. Default: bottle itself.
    pipelock: Option<Spanned<Table<SidecarTable>>>,
    /// The repositories that the agent clones from and pushes to, with your approval.
    #[serde(rename = "git-gate")]
    git_gate: Option<Spanned<Table<GitGateTable>>>,
    /// The agent may ask you for a host or an answer.
    supervise: Option<Spanned<Table<SidecarTable>>>,
    /// How you are told that an agent asks, that a push waits, that `bottle verify` found a leak, or that a keeper died.
    notify: Option<Spanned<Table<NotifyTable>>>,
    /// Origins that the egress proxy asks in the agent's name, with keys that the guest never has.
    #[serde(default, rename = "upstream")]
    upstreams: Vec<Spanned<Table<UpstreamTable>>>,
    /// Ports on which programs in the guest listen, for this machine's loopback. Default: none.
    #[serde(default)]
    publish: Vec<Spanned<Table<PublishTable>>>,
    /// Machines that are kept ready. It is a key of a person's own defaults alone.
    #[schemars(skip)]
    pool: Option<Spanned<Table<PoolTable>>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PoolTable {
    /// How many machines of each image and size wait for a run.
    #[serde(default)]
    warm: u8,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PublishTable {
    /// The port on which a program in the guest listens.
    #[schemars(range(min = 1))]
    guest: u16,
    /// The port of this machine's loopback. Default: any that is free.
    #[serde(default)]
    host: u16,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NotifyTable {
    /// A program of this machine with its arguments. It gets the event as a line of JSON on its standard input, and in
    /// `BOTTLE_EVENT`, `BOTTLE_SLUG` and `BOTTLE_SAYS`, and has 10 seconds.
    #[schemars(length(min = 1))]
    command: Vec<Word>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NetworkTable {
    /// The network stack that speaks TCP with the agent. Default: gvproxy if it is installed, otherwise the guest's own
    /// kernel. With gvproxy, a connection ends for both sides once one has finished sending.
    #[serde(default)]
    stack: StackChoice,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GuestTable {
    /// What the machine boots from: the name of an image, a root folder or a `docker save` archive. Default: bare
    /// Alpine.
    image: Option<Spanned<ImageRef>>,
    /// The most processors. Idle ones cost nothing.
    #[schemars(range(min = 1), extend("default" = CPUS))]
    cpus: Option<Spanned<u8>>,
    /// The most memory, in MiB. Only memory that is used is taken.
    #[schemars(range(min = LEAST_MEMORY_MIB), extend("default" = MEMORY_MIB))]
    memory: Option<Spanned<u32>>,
    /// The folder in which commands start. Default: `/workspace`, if it exists.
    workdir: Option<MountPath>,
    /// Environment variables, except those that bottle sets itself.
    #[serde(default)]
    env: BTreeMap<EnvName, Spanned<Word>>,
    /// Certificate authorities that the guest trusts beside the usual ones, such as that of a company's proxy: PEM files
    /// of this machine.
    #[serde(default)]
    ca: Vec<PathBuf>,
    /// Commands that are run once, each by a shell, before the bottle is used. `setup-keep` says where. An empty list: none, not even
    /// those of the agent, because the image has it.
    setup: Option<Vec<Word>>,
    /// Hosts that may be reached while these commands run, and not afterwards.
    #[serde(default, rename = "setup-allow")]
    setup_allow: Vec<Spanned<HostRule>>,
    /// Where the results of these commands are kept. In an image: they run in a machine of their own, without the project, and
    /// every new machine with the same image and setup starts from what they made. On the disk: they run in each new machine of
    /// the bottle, and see the project. Default: in an image, if `image` names one of a registry.
    #[serde(rename = "setup-keep")]
    setup_keep: Option<SetupKeep>,
    /// More folders of this machine.
    #[serde(default)]
    volumes: Vec<Spanned<Table<VolumeTable>>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VolumeTable {
    /// The folder on this machine, relative to the folder of `bottle.toml`, or below `~/`.
    host: PathBuf,
    /// Where the guest sees it.
    guest: MountPath,
    /// Whether the guest may change it.
    #[serde(default)]
    writable: bool,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkspaceTable {
    /// How the guest gets the project's folder.
    #[serde(default)]
    mode: WorkspaceMode,
    /// Files that are not copied, in addition to files like `.env`: patterns as in a `.gitignore`. A
    /// `.bottleignore` in the project adds to them.
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum WorkspaceMode {
    /// A copy: `bottle diff` shows what the guest changed, and `bottle apply` takes it back.
    #[default]
    Copy,
    /// The folder itself, read-only.
    ReadOnly,
    /// The folder itself: whatever the guest writes is written to your files at once.
    ReadWrite,
    /// Nothing.
    None,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EgressTable {
    /// Hosts that may be reached: `example.com`, `*.example.com`, `example.com:443,8443`. The port is 443
    /// unless you name others. `*` is every host of the public internet.
    #[serde(default)]
    allow: Vec<Spanned<HostRule>>,
    /// Hosts that stay closed although a pattern of `allow` covers them.
    #[serde(default)]
    deny: Vec<HostPattern>,
    /// Allowed hosts that may resolve to an address that is not public.
    #[serde(default)]
    allow_private: Vec<Spanned<HostPattern>>,
    /// Allowed hosts to which a TLS connection may be opened that names no server.
    #[serde(default)]
    allow_no_sni: Vec<Spanned<HostPattern>>,
    /// Names that only the proxy knows, each with its address.
    #[serde(default)]
    hosts: BTreeMap<HostName, IpAddr>,
    /// The proxy through which this machine reaches the internet. Default: what `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`
    /// say where the bottle is started.
    parent: Option<Spanned<Table<ParentTable>>>,
    /// The limits for the proxy's clients.
    limits: Option<Spanned<Table<Limits>>>,
}

/// Returns the JSON Schema of the file.
pub fn schema(generator: SchemaGenerator) -> Schema {
    generator.into_root_schema_for::<File>()
}

/// Parses a file's text.
///
/// # Errors
/// Returns an error with file, line and key.
pub fn parse(source: &Source, site: &Site) -> Outcome<Config> {
    let document = DeTable::parse(source.text()).map_err(|error| syntax::failure(source, &error))?;
    let file = File::deserialize(Deserializer::from(document));
    let file = file.map_err(|error| shape::failure(source, &error))?;
    let mut config =
        Config { slug: file.slug, audit: file.audit, stack: file.network.0.stack, ..Config::default() };
    config.agent = file.agent.map(|name| Agent { name, profile: None });
    config.places = Places::of(source);
    config.allow_sensitive = file.allow_sensitive.iter().map(|path| site.meant(path)).collect();
    let mode = file.workspace.0.mode;
    let has_workspace = site.project.is_some() && !matches!(mode, WorkspaceMode::None);
    guest(&mut config, file.guest.0, source, site, Mounts::new(source, has_workspace))?;
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
    if let Some(table) = file.notify {
        let words = &table.get_ref().0.command;
        if words.first().is_none_or(|program| program.as_str().is_empty()) {
            return Err(source
                .fail(Some(table.span()), "the command of `[notify]` is empty")
                .help("`command = [\"notify-send\", \"bottle\"]` names a program and its arguments"));
        }
        config.paths.extend(site.programs(words.iter().map(Word::as_str)));
        config.notify = words.iter().map(|word| word.as_str().to_owned()).collect();
    }
    let EgressTable { allow, deny, allow_private, allow_no_sni, hosts, parent, limits } = file.egress.0;
    let narrow = |checked: Result<(), TooWide>, span| {
        checked.map_err(|wide| source.fail(Some(span), &wide.to_string()).help(wide.help()))
    };
    allow.iter().try_for_each(|rule| narrow(public_suffix::check(&rule.get_ref().pattern), rule.span()))?;
    // There can never be too many closed hosts.
    allow_private
        .iter()
        .chain(&allow_no_sni)
        .try_for_each(|rule| narrow(public_suffix::check_named(rule.get_ref()), rule.span()))?;
    config.egress = bottle_core::egress::Rules {
        allow: allow.into_iter().map(Spanned::into_inner).collect(),
        deny,
        allow_private: allow_private.into_iter().map(Spanned::into_inner).collect(),
        allow_no_sni: allow_no_sni.into_iter().map(Spanned::into_inner).collect(),
        hosts,
    };
    if let Some(parent) = parent {
        config.places.add(Item::Parent, parent.span());
        let project = site.project.as_deref();
        config.parent = ParentChoice::from_table(parent, source, |secret| whole(secret, project))?;
    }
    for secret in config.parent.secrets() {
        config.paths.extend(of_secret(site, secret));
    }
    if let Some(limits) = limits {
        let Limits { connections, idle_seconds, .. } = limits.get_ref().0;
        if connections == 0 || idle_seconds == 0 {
            let what = "`connections` and `idle_seconds` have to be at least 1";
            return Err(source.fail(Some(limits.span()), what));
        }
        config.limits = limits.into_inner().0;
    }
    for table in file.upstreams {
        let span = table.span();
        if config.sidecars.get(&Sidecar::Pipelock) != Some(&SidecarSpec::Builtin) {
            let what =
                "upstreams need the built-in egress proxy: remove `address` and `command` from [pipelock]";
            return Err(source.fail(Some(span), what));
        }
        let upstream = from_table(table, source, site.project.as_deref())?;
        for secret in upstream.headers.values() {
            config.paths.extend(of_secret(site, secret));
        }
        config.places.add(Item::Upstream(upstream.path.to_string()), span.clone());
        config.upstreams.push(upstream);
        // One at a time, so that the error points at the table that is one too many.
        upstream::check(&config.upstreams, |name| config.guest.env.contains_key(name))
            .map_err(|conflict| source.fail(Some(span), &conflict.to_string()))?;
    }
    for table in file.publish {
        let (span, PublishTable { guest, host }) = (table.span(), table.into_inner().0);
        let fail = |what: &str| source.fail(Some(span.clone()), what);
        let guest = NonZeroU16::new(guest).ok_or_else(|| fail("`guest` has to be at least 1"))?;
        if config.publish.iter().any(|known| known.guest == guest) {
            return Err(fail(&format!("port {guest} of the guest is published twice")));
        }
        if host != 0 && config.publish.iter().any(|known| known.host == host) {
            return Err(fail(&format!("port {host} of this machine is taken twice")));
        }
        if config.publish.len() == Published::MOST {
            return Err(fail(&format!("a bottle publishes at most {} ports", Published::MOST)));
        }
        config.places.add(Item::Publication(guest), span);
        config.publish.push(Published { guest, host });
    }
    if let Some(table) = file.pool {
        let (span, PoolTable { warm }) = (table.span(), table.into_inner().0);
        if site.project.is_some() {
            return Err(source
                .fail(Some(span), "`pool` cannot be set for one project: it takes memory of this machine")
                .help("set it in your own defaults; `bottle config` says where they are"));
        }
        if usize::from(warm) > pool::MOST {
            return Err(source.fail(Some(span), &format!("at most {} machines are kept ready", pool::MOST)));
        }
        config.warm = warm;
    }
    config.project.clone_from(&site.project);
    Ok(config)
}

/// Returns the host paths that a secret comes from.
fn of_secret(site: &Site, secret: &Secret) -> Vec<Named> {
    match &secret.source {
        SecretSource::File(path) => vec![site.named(Use::Secret, path.as_ref(), None)],
        SecretSource::Command(words) => site.programs(words.iter().map(Word::as_str)).into_iter().collect(),
        SecretSource::Env(_) | SecretSource::Login(_) => Vec::new(),
    }
}

fn guest(
    config: &mut Config,
    table: GuestTable,
    source: &Source,
    site: &Site,
    mut mounts: Mounts<'_>,
) -> Outcome {
    let guest = &mut config.guest;
    if let Some(image) = table.image {
        let (span, image) = (image.span(), image.into_inner());
        config.places.add(Item::Image, span.clone());
        let image = site.image(image, &mut config.paths, &config.allow_sensitive, &mut config.exposed);
        guest.image = Some(image.map_err(|refused| refused.at(source, Some(span)))?);
    }
    guest.workdir = table.workdir;
    for path in table.ca {
        let path = site.meant(&path);
        config.paths.push(site.named(Use::Authority, &path, None));
        config.authorities.push(path);
    }
    for rule in &table.setup_allow {
        public_suffix::check(&rule.get_ref().pattern)
            .map_err(|wide| source.fail(Some(rule.span()), &wide.to_string()).help(wide.help()))?;
    }
    let allow = table.setup_allow.into_iter().map(Spanned::into_inner).collect();
    config.has_no_setup = table.setup.as_ref().is_some_and(Vec::is_empty);
    config.setup = Setup { run: table.setup.unwrap_or_default(), allow, ..Setup::default() };
    config.setup_keep = table.setup_keep;
    for (name, value) in table.env {
        if environment::is_reserved(name.as_str()) {
            return Err(source.fail(Some(value.span()), &ReservedVariable(name.to_string()).to_string()));
        }
        guest.env.insert(name, value.into_inner());
    }
    if let Some(cpus) = table.cpus {
        if *cpus.get_ref() == 0 {
            return Err(source.fail(Some(cpus.span()), "a guest needs at least one processor"));
        }
        guest.cpus = cpus.into_inner();
    }
    if let Some(memory) = table.memory {
        if *memory.get_ref() < LEAST_MEMORY_MIB {
            let what = format!("a guest needs at least {LEAST_MEMORY_MIB} MiB of memory");
            return Err(source.fail(Some(memory.span()), &what));
        }
        guest.memory_mib = memory.into_inner();
    }
    for volume in table.volumes {
        let span = volume.span();
        let VolumeTable { host, guest: inside, writable } = volume.into_inner().0;
        mounts.add(&inside, span.clone())?;
        if host.as_os_str().is_empty() {
            return Err(source
                .fail(Some(span), "`guest.volumes.host` is empty")
                .help("write the folder's path; \".\" is the folder of bottle.toml"));
        }
        let written = site.beside(&host);
        let host = site.shared(&written, &config.allow_sensitive, &mut config.exposed);
        let host = host.map_err(|refused| refused.at(source, Some(span)))?;
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
            let what = "this mode copies nothing, so there is nothing to exclude";
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
    let host =
        site.shared(project, &config.allow_sensitive, &mut config.exposed).map_err(|mut refused| {
            let none = "`[workspace] mode = \"none\"` gives the guest no folder";
            refused.help =
                Some(refused.help.map_or_else(|| none.to_owned(), |help| format!("{none}; {help}")));
            refused.at(source, None)
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
