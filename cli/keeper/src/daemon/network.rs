//! The network stack and its doors. They are opened again when gvproxy ends.

use crate::doors;
use crate::shared::Shared;
use crate::stack::Endpoint;
use anyhow::{Context, Result};
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::starter::{Alive, Ask};
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// The pauses before gvproxy is started again: one second at first, doubled up to half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A running stack with its doors. Both end when this value is dropped.
pub struct OpenNetwork {
    stack: Alive,
    doors: Vec<AbortHandle>,
}

impl Drop for OpenNetwork {
    fn drop(&mut self) {
        self.doors.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a stack, serves its doors and attaches it to the link.
pub fn open(shared: &Arc<Shared>) -> Result<OpenNetwork> {
    let (stack, mut descriptors) = shared.starter.start(&Ask::Stack)?;
    fail_point::reached(FailPoint::KeeperJail);
    let link = descriptors.pop().context("the starter handed over no link")?;
    let mut open = OpenNetwork { stack, doors: Vec::new() };
    for ((sidecar, _), listener) in shared.plan.doors.iter().zip(descriptors) {
        open.doors.push(doors::serve(shared, sidecar, TcpListener::from(listener))?);
    }
    shared.link.attach(Arc::new(Endpoint::taken_over(link, shared.plan.stack)))?;
    Ok(open)
}

/// Watches gvproxy, if it is the stack, and starts it again when it ends. The guest reaches nothing
/// in the meantime.
pub async fn keep(shared: &Arc<Shared>, mut jail: OpenNetwork) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        let _ = jail.stack.ended().await;
        shared.link.detach();
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
