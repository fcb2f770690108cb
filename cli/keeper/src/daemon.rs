//! The keeper's life: it is confined first, then opens its doors, and keeps them open until its bottle ends.

mod confined;
mod network;

use crate::begin::{self, Arguments};
use crate::counters::Counters;
use crate::launch::READY;
use crate::link::Link;
use crate::owner::Owner;
use crate::shared::Shared;
use crate::{own_log, requests, sidecars};
use anyhow::Result;
use bottle_core::slug::Slug;
use bottle_core::stack::Stack;
use bottle_host::audit::Audit;
use bottle_host::control::{AgentRequest, Waiting};
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::notify::{Notice, Notifier};
use bottle_host::starter::{Ask, Starter};
use bottle_host::state::Lock;
use bottle_sidecars::egress::EgressProxy;
use bottle_sidecars::git::Gate;
use bottle_sidecars::http::{Answers, Server};
use bottle_sidecars::keys::Keys;
use bottle_sidecars::supervise::Supervise;
use bottle_sidecars::supervise::inbox::Numbers;
use confined::Confined;
use network::OpenNetwork;
use rustix::fs::Uid;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot::Receiver;

/// The sockets to a keeper's helpers.
#[derive(Debug)]
pub struct Helpers {
    /// The socket to the starter, which starts the programs that the keeper must not start.
    pub starter: OwnedFd,
    /// The socket to the process that holds the upstreams' keys, if there are upstreams.
    pub keys: Option<OwnedFd>,
    /// The socket to the process that tells a person, if there is a command for that.
    pub notifier: Option<OwnedFd>,
}

/// Runs a keeper until its bottle ends. Without helpers, it starts them first and then itself again.
///
/// # Errors
/// Returns the reason why it could not start, which its launcher is told, too.
pub fn main(arguments: Arguments, helpers: Option<Helpers>) -> Result<()> {
    let Some(helpers) = helpers else {
        let Err(error) = begin::start_again(&arguments);
        writeln!(File::from(arguments.ready), "{error:#}")?;
        return Err(error);
    };
    let Arguments { slug, owner, ready, guest } = arguments;
    let mut ready = File::from(ready);
    let result = Confined::begin(&slug).and_then(|confined| {
        // All threads are started after this, so they are confined, too.
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
    // A blocking call, such as a name lookup, must not keep the keeper alive.
    runtime.shutdown_background();
    result
}

/// A keeper that is ready to serve.
struct Started {
    shared: Arc<Shared>,
    network: OpenNetwork,
    control: tokio::net::UnixListener,
    hooks: UnboundedReceiver<(Slug, OwnedFd)>,
    starter_ended: Receiver<()>,
    _lock: Lock,
}

async fn start(confined: Confined, helpers: Helpers, owner: OwnedFd, guest: UnixListener) -> Result<Started> {
    let Confined { folder, plan, services, control, tls, in_force, lock } = confined;
    let starter = Arc::new(Starter::at(helpers.starter));
    let starter_ended = crate::owner::when_ready(starter.watched()?)?;
    let keys = helpers.keys.map(Keys::at);
    let notifier = Arc::new(Notifier::at(helpers.notifier)?);
    let audit = Audit::open(&folder, services.audit)?;
    fail_point::reached(FailPoint::KeeperLog);
    let counters = Arc::new(Counters::default());
    let giver = Arc::clone(&starter);
    let welcome = move |uid: Uid| giver.demand(&Ask::Give { uid: uid.as_raw() });
    let link = if plan.stack == Stack::Sockets {
        Link::of_streams(Arc::clone(&counters), audit.clone(), Box::new(welcome))
    } else {
        Link::of_frames(plan.guard(), Arc::clone(&counters), audit.clone(), Box::new(welcome))
    };
    let egress_proxy = EgressProxy::new(&plan, services.limits, audit.clone(), keys.as_ref(), tls);
    if !services.git.is_empty() {
        starter.demand(&Ask::Refresh)?;
    }
    let (to_hooks, hooks) = unbounded_channel();
    let server = Server::new(services.limits, audit.clone(), "git-gate", Answers::Own);
    let git = Gate::new(services.git.clone(), server, Arc::clone(&starter), to_hooks, folder.git_log());
    let rules_of = Arc::clone(&egress_proxy);
    let supervise = Supervise::new(
        plan.slug.clone(),
        Numbers::of(&folder)?,
        move || rules_of.rules(),
        audit.clone(),
        services.limits,
        asked(&plan.slug, &notifier),
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
        egress_proxy,
        git,
        supervise,
        starter,
        notifier,
        confined: in_force,
        owner,
        started: Instant::now(),
        jail_restarts: 0.into(),
        keys_ended: false.into(),
    });
    sidecars::start(&shared).await?;
    let network = network::open(&shared)?;
    if let Some(keys) = keys {
        keys.ready().await?;
        let egress_proxy = Arc::clone(&shared.egress_proxy);
        keys.on_key_found(move |request| egress_proxy.log_key_found(&request), keys_ended(&shared))?;
    }
    bottle_host::trial::run("keeper");
    shared.link.listen(guest)?;
    shared.audit.decided(
        "keeper",
        "started",
        json!({ "doors": shared.plan.doors, "rules": shared.egress_proxy.rules(), "confined": in_force }),
    )?;
    Ok(Started { shared, network, control, hooks, starter_ended, _lock: lock })
}

/// Returns the reaction to a request of the agent: a person is told.
fn asked(slug: &Slug, notifier: &Arc<Notifier>) -> impl Fn(&Waiting) + Send + Sync + use<> {
    let (slug, notifier) = (slug.clone(), Arc::clone(notifier));
    move |waiting| {
        let asks = match &waiting.request {
            AgentRequest::Host { rule, reason } => format!("may it reach {rule}? {reason}"),
            AgentRequest::Question { question } => question.clone(),
        };
        notifier.tell(&Notice::Request { id: format!("{slug}.{}", waiting.number), asks });
    }
}

/// Returns the reaction to the end of the process that holds the keys: it is recorded, so that `status` shows
/// it.
fn keys_ended(shared: &Arc<Shared>) -> impl FnOnce() + Send + use<> {
    let shared = Arc::clone(shared);
    move || {
        shared.keys_ended.store(true, Relaxed);
        shared.audit.write(
            "keeper",
            "keys-ended",
            json!({ "why": "every request to an upstream or through a parent proxy fails now" }),
        );
    }
}

async fn serve(started: Started) -> Result<()> {
    let Started { shared, network, control, mut hooks, starter_ended, _lock } = started;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(own_log::keep_short());
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
        // Everything that the starter started has ended with it, so there is nothing left to keep.
        _ = starter_ended => "its starter ended",
        error = network::keep(&shared, network) => return error,
    };
    shared.egress_proxy.close().await;
    shared.audit.flush();
    let stopped = json!({ "why": why, "counters": shared.counters.snapshot() });
    let recorded = shared.audit.decided("keeper", "stopped", stopped);
    shared.audit.flush();
    shared.notifier.tell(&Notice::KeeperEnds);
    fail_point::reached(FailPoint::KeeperStopped);
    let _ = fs::remove_file(shared.folder.control());
    let _ = fs::remove_file(shared.folder.guest_socket());
    recorded
}
