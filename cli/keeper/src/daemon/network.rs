//! The network stack and its doors: opened, and opened again when gvproxy ends.

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

/// Pauses before gvproxy is started again: one second at first, doubled up to half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A stack at work, with its doors. Both end with the value.
pub struct Open {
    stack: Alive,
    doors: Vec<AbortHandle>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.doors.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a stack and puts it to work.
pub fn open(shared: &Arc<Shared>) -> Result<Open> {
    let (stack, mut descriptors) = shared.starter.start(&Ask::Stack)?;
    fail_point::reached(FailPoint::KeeperJail);
    let link = descriptors.pop().context("there is no link")?;
    let mut open = Open { stack, doors: Vec::new() };
    for ((sidecar, _), listener) in shared.plan.doors.iter().zip(descriptors) {
        open.doors.push(doors::serve(shared, sidecar, TcpListener::from(listener))?);
    }
    shared.link.attach(Arc::new(Endpoint::taken_over(link, shared.plan.stack)))?;
    Ok(open)
}

/// Watches gvproxy, where it is the stack, and starts it again when it ends. Meanwhile the guest
/// reaches nothing.
pub async fn keep(shared: &Arc<Shared>, mut jail: Open) -> Result<()> {
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
