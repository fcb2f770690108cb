//! The network stack and its doors, which are reopened when gvproxy ends.

use crate::doors::{self, Clients};
use crate::link::Traffic;
use crate::shared::Shared;
use crate::stack::Endpoint;
use anyhow::{Context, Result};
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::starter::{Alive, Ask};
use serde_json::json;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// The first pause before gvproxy is started again. It doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A running stack with its doors. Both end when this value is dropped.
pub struct OpenNetwork {
    /// The stack, if it is a process that can end. The guest's own kernel is not.
    stack: Option<Alive>,
    doors: Vec<AbortHandle>,
}

impl Drop for OpenNetwork {
    fn drop(&mut self) {
        self.doors.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the stack, if it runs on this host, and serves the doors.
pub fn open(shared: &Arc<Shared>) -> Result<OpenNetwork> {
    let crossing = match shared.link.traffic() {
        Traffic::Frames(crossing) => crossing,
        Traffic::Streams(streams) => {
            let mut open = OpenNetwork { stack: None, doors: Vec::new() };
            for (sidecar, port) in shared.plan.doors.iter() {
                let port = NonZeroU16::new(port).context("a door has a port")?;
                let clients = Clients::Streams(streams.open(port), streams.offers());
                open.doors.push(doors::serve(shared, sidecar, clients)?);
            }
            return Ok(open);
        }
    };
    let (stack, mut descriptors) = shared.starter.start(&Ask::Stack)?;
    fail_point::reached(FailPoint::KeeperJail);
    let link = descriptors.pop().context("the starter handed over no link")?;
    let mut open = OpenNetwork { stack: Some(stack), doors: Vec::new() };
    for ((sidecar, _), listener) in shared.plan.doors.iter().zip(descriptors) {
        open.doors.push(doors::serve(shared, sidecar, Clients::of(TcpListener::from(listener))?)?);
    }
    crossing.attach(Arc::new(Endpoint::of(link)))?;
    Ok(open)
}

/// Watches gvproxy, if it is the stack, and starts it again when it ends. Meanwhile the guest reaches
/// nothing.
pub async fn keep(shared: &Arc<Shared>, mut jail: OpenNetwork) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        match &mut jail.stack {
            Some(stack) => _ = stack.ended().await,
            None => std::future::pending().await,
        }
        if let Traffic::Frames(crossing) = shared.link.traffic() {
            crossing.detach();
        }
        drop(jail);
        shared.audit.write("keeper", "gvproxy-ended", json!({}));
        if since.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        jail = loop {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            match open(shared) {
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
