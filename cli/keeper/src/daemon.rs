//! The keeper's life: it starts confined, opens its doors, and keeps them open until its bottle ends.

mod confined;
mod network;

use crate::begin::{self, Given};
use crate::counters::Counters;
use crate::launch::READY;
use crate::link::Link;
use crate::owner::Owner;
use crate::shared::Shared;
use crate::{requests, sidecars};
use anyhow::Result;
use bottle_core::slug::Slug;
use bottle_host::audit::Audit;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::starter::{Ask, Starter};
use bottle_host::state::Lock;
use bottle_sidecars::egress::EgressProxy;
use bottle_sidecars::git::Gate;
use bottle_sidecars::http::{Answers, Room};
use bottle_sidecars::keys::Keys;
use bottle_sidecars::supervise::Supervise;
use bottle_sidecars::supervise::inbox::Numbers;
use confined::Confined;
use network::Open;
use rustix::fs::Uid;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot::Receiver;

/// A keeper's helpers, at the other ends of these sockets.
#[derive(Debug)]
pub struct Helpers {
    /// Who starts what the keeper may not.
    pub starter: OwnedFd,
    /// Who has the keys of upstreams, where there are any.
    pub keys: Option<OwnedFd>,
}

/// Runs a keeper until its bottle ends. At first it has no helpers: it starts them, and itself anew.
///
/// # Errors
/// What kept it from starting, which it also tells whoever launched it.
pub fn main(given: Given, helpers: Option<Helpers>) -> Result<()> {
    let Some(helpers) = helpers else {
        let Err(error) = begin::anew(&given);
        writeln!(File::from(given.ready), "{error:#}")?;
        return Err(error);
    };
    let Given { slug, owner, ready, guest } = given;
    let mut ready = File::from(ready);
    let result = Confined::begin(&slug).and_then(|confined| {
        // Every thread comes from here on, and is confined, too.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok((confined, runtime))
    });
    let (confined, runtime) = match result {
        Ok(begun) => begun,
        Err(error) => {
            writeln!(ready, "{error:#}")?;
            return Err(error);
        }
    };
    let result = runtime.block_on(async {
        match start(confined, helpers, owner, guest.into()).await {
            Ok(started) => {
                writeln!(ready, "{READY}")?;
                drop(ready);
                fail_point::reached(FailPoint::KeeperReady);
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

/// A keeper that is ready to serve.
struct Started {
    shared: Arc<Shared>,
    network: Open,
    control: tokio::net::UnixListener,
    hooks: UnboundedReceiver<(Slug, OwnedFd)>,
    starter_ended: Receiver<()>,
    _lock: Lock,
}

async fn start(confined: Confined, helpers: Helpers, owner: OwnedFd, guest: UnixListener) -> Result<Started> {
    let Confined { folder, plan, services, control, in_force, lock } = confined;
    let starter = Arc::new(Starter::at(helpers.starter));
    let starter_ended = crate::owner::when_ready(starter.watched()?)?;
    let keys = helpers.keys.map(Keys::at);
    let audit = Audit::open(&folder, services.audit)?;
    fail_point::reached(FailPoint::KeeperLog);
    let counters = Arc::new(Counters::default());
    let giver = Arc::clone(&starter);
    let welcome = move |uid: Uid| giver.demand(&Ask::Give { uid: uid.as_raw() });
    let link = Link::new(plan.guard(), Arc::clone(&counters), audit.clone(), Box::new(welcome));
    let proxy = EgressProxy::new(&plan, services.limits, audit.clone(), keys.as_ref());
    if !services.git.is_empty() {
        starter.demand(&Ask::Refresh)?;
    }
    let (to_hooks, hooks) = unbounded_channel();
    let room = Room::new(services.limits, audit.clone(), "git-gate", Answers::Own);
    let git = Gate::new(services.git.clone(), room, Arc::clone(&starter), to_hooks, folder.git_log());
    let of_proxy = Arc::clone(&proxy);
    let supervise = Supervise::new(
        plan.slug.clone(),
        Numbers::of(&folder)?,
        move || of_proxy.rules(),
        audit.clone(),
        services.limits,
    );
    let owner = Owner::new(owner)?;
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
        starter,
        confined: in_force,
        owner,
        started: Instant::now(),
        jail_restarts: 0.into(),
    });
    sidecars::start(&shared).await?;
    let network = network::open(&shared)?;
    if let Some(keys) = keys {
        keys.ready().await?;
        let of_proxy = Arc::clone(&shared.proxy);
        keys.tell(move |request| of_proxy.had_a_key(&request))?;
    }
    bottle_host::trial::run("keeper");
    shared.link.listen(guest)?;
    shared.audit.decided(
        "keeper",
        "started",
        json!({ "doors": shared.plan.doors, "rules": shared.proxy.rules(), "confined": in_force }),
    )?;
    Ok(Started { shared, network, control, hooks, starter_ended, _lock: lock })
}

async fn serve(started: Started) -> Result<()> {
    let Started { shared, network, control, mut hooks, starter_ended, _lock } = started;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(requests::serve(Arc::clone(&shared), control, Arc::clone(&stop)));
    let for_hooks = Arc::clone(&shared);
    tokio::spawn(async move {
        while let Some((repo, socket)) = hooks.recv().await {
            tokio::spawn(requests::serve_hooks(Arc::clone(&for_hooks), repo, socket));
        }
    });
    let why = tokio::select! {
        () = shared.owner.gone() => "its owner ended",
        _ = terminate.recv() => "it was terminated",
        _ = interrupt.recv() => "it was interrupted",
        () = stop.notified() => "it was asked to",
        // What it started has ended with it: nothing is left to keep.
        _ = starter_ended => "its starter ended",
        error = network::keep(&shared, network) => return error,
    };
    shared.audit.flush();
    let stopped = json!({ "why": why, "counters": shared.counters.snapshot() });
    let recorded = shared.audit.decided("keeper", "stopped", stopped);
    shared.audit.flush();
    fail_point::reached(FailPoint::KeeperStopped);
    let _ = fs::remove_file(shared.folder.control());
    let _ = fs::remove_file(shared.folder.guest_socket());
    recorded
}
