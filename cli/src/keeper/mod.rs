//! The keeper: one host process per bottle, alive as long as the bottle.
//!
//! It owns the socket that smolvm mounts, the guard, the network stack in its jail, the doors, the
//! built-in sidecars and the audit log. When it dies, its children die with it, and the guest
//! reaches nothing.

pub mod audit;
mod carry;
pub mod control;
pub mod counters;
mod doors;
mod launch;
pub mod link;
mod owner;
mod requests;
mod sidecars;
pub mod stack;

pub use launch::{Keeper, Starting, launch};

use crate::git::Gate;
use crate::git::quarantine::Quarantine;
use crate::http::Room;
use crate::preflight::Network;
use crate::proxy::Proxy;
use crate::resolve::Services;
use crate::state::{Folder, Home, Lock};
use crate::step::{self, Step};
use crate::supervise::Supervise;
use crate::workspace;
use anyhow::{Context, Result, anyhow};
use audit::Audit;
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use counters::Counters;
use link::Link;
use owner::Owner;
use rustix::fs::Uid;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use stack::Running;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;

/// What launched the keeper reads to the end: this word, or why it did not start.
const READY: &str = "ready";

/// Pauses before gvproxy is started again: one second at first, doubled up to half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Everything that the parts of a keeper share.
struct Shared {
    folder: Folder,
    plan: Plan,
    services: Services,
    counters: Arc<Counters>,
    audit: Audit,
    link: Arc<Link>,
    proxy: Arc<Proxy>,
    git: Arc<Gate>,
    supervise: Arc<Supervise>,
    owner: Owner,
    started: Instant,
    jail_restarts: std::sync::atomic::AtomicU32,
}

/// Runs a keeper until its bottle ends.
///
/// # Errors
/// What kept it from starting, which it also tells whoever launched it.
pub fn main(slug: &Slug, owner: OwnedFd, ready: OwnedFd, guest: OwnedFd) -> Result<()> {
    let (mut ready, guest) = (File::from(ready), UnixListener::from(guest));
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match start(slug, owner, guest).await {
            Ok(started) => {
                writeln!(ready, "{READY}")?;
                drop(ready);
                step::done(Step::KeeperReady);
                serve(started).await
            }
            Err(error) => {
                writeln!(ready, "{error:#}")?;
                Err(error)
            }
        }
    });
    // A blocking call in flight, a name being looked up, must not keep the keeper alive.
    runtime.shutdown_background();
    result
}

/// Two thousand connections have two descriptors each, and the usual limit is a thousand.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be had is done without.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A keeper that is ready to serve.
struct Started {
    shared: Arc<Shared>,
    network: Network,
    jail: Open,
    control: tokio::net::UnixListener,
    log: File,
    _lock: Lock,
}

async fn start(slug: &Slug, owner: OwnedFd, guest: UnixListener) -> Result<Started> {
    let folder = Home::find()?.bottle(slug);
    let lock = folder.lock_keeper()?.ok_or_else(|| anyhow!("bottle {slug} has a keeper already"))?;
    step::done(Step::KeeperLocked);
    let plan = folder.read_plan()?;
    let network = Network::of(plan.stack)?;
    let services = Services::read(&folder)?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.keeper_log())?;
    let audit = Audit::open(&folder.audit(), services.audit)?;
    step::done(Step::KeeperLog);
    let counters = Arc::new(Counters::default());
    let copy = folder.copy();
    let welcome = move |uid: Uid| if copy.exists() { workspace::give(&copy, uid) } else { Ok(()) };
    let link = Link::new(plan.guard(), Arc::clone(&counters), audit.clone(), Box::new(welcome));
    let proxy = Proxy::new(&plan, services.limits, audit.clone()).await?;
    for repo in &services.git {
        Quarantine::of(&folder, repo).refresh(&folder, repo)?;
    }
    let git = Gate::new(folder.clone(), services.git.clone(), Room::new(services.limits));
    let of_proxy = Arc::clone(&proxy);
    let supervise = Supervise::new(slug.clone(), move || of_proxy.rules(), audit.clone(), services.limits);
    let owner = Owner::new(owner)?;

    let control = bind(&folder.control(), 0o600)?;
    step::done(Step::KeeperControl);
    control.set_nonblocking(true)?;
    let control = tokio::net::UnixListener::from_std(control)?;
    let shared = Arc::new(Shared {
        folder,
        plan,
        services,
        counters,
        audit,
        link,
        proxy,
        git,
        supervise,
        owner,
        started: Instant::now(),
        jail_restarts: 0.into(),
    });
    sidecars::start(&shared).await?;
    let jail = open(&shared, &network, &log)?;
    shared.link.listen(guest)?;
    shared.audit.write(
        "keeper",
        "started",
        json!({ "doors": shared.plan.doors, "rules": shared.proxy.rules() }),
    );
    Ok(Started { shared, network, jail, control, log, _lock: lock })
}

/// A jail at work, with its doors. Both end with the value.
struct Open {
    jail: Running,
    doors: Vec<AbortHandle>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.doors.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a jail and puts it to work.
fn open(shared: &Arc<Shared>, network: &Network, log: &File) -> Result<Open> {
    let jail = stack::start(network, &shared.folder, &shared.plan, log)?;
    step::done(Step::KeeperJail);
    let mut open = Open { jail, doors: Vec::new() };
    for ((sidecar, _), listener) in shared.plan.doors.iter().zip(std::mem::take(&mut open.jail.doors)) {
        open.doors.push(doors::serve(shared, sidecar, listener)?);
    }
    shared.link.attach(Arc::clone(&open.jail.link))?;
    Ok(open)
}

async fn serve(started: Started) -> Result<()> {
    let Started { shared, network, jail, control, log, _lock } = started;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(requests::serve(Arc::clone(&shared), control, Arc::clone(&stop)));
    let why = tokio::select! {
        () = shared.owner.gone() => "its owner ended",
        _ = terminate.recv() => "it was terminated",
        _ = interrupt.recv() => "it was interrupted",
        () = stop.notified() => "it was asked to",
        error = keep_jail(&shared, &network, jail, &log) => return error,
    };
    shared.audit.write("keeper", "stopped", json!({ "why": why, "counters": shared.counters.snapshot() }));
    shared.audit.flush();
    step::done(Step::KeeperStopped);
    let _ = fs::remove_file(shared.folder.control());
    let _ = fs::remove_file(shared.folder.guest_socket());
    Ok(())
}

/// Watches gvproxy, where it is the stack, and starts it again when it ends. Meanwhile the guest
/// reaches nothing.
async fn keep_jail(shared: &Arc<Shared>, network: &Network, mut jail: Open, log: &File) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        match jail.jail.pid() {
            Some(pid) => _ = owner::when_ended(pid)?.await,
            None => std::future::pending().await,
        }
        shared.link.detach();
        drop(jail);
        shared.audit.write("keeper", "gvproxy-ended", json!({}));
        if since.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        jail = loop {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            match open(shared, network, log) {
                Ok(jail) => break jail,
                Err(error) => {
                    shared.audit.write("keeper", "gvproxy-failed", json!({ "why": format!("{error:#}") }));
                }
            }
        };
        shared.jail_restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        shared.audit.write("keeper", "gvproxy-restarted", json!({}));
    }
}

fn bind(path: &Path, mode: u32) -> Result<UnixListener> {
    // The bottle has no other keeper, so a socket that is there has nobody behind it.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
