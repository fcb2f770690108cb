//! What is behind each door: a built-in sidecar, or a relay to one that runs by itself.

use crate::relay::{self, Relayed};
use crate::shared::Shared;
use anyhow::Result;
use bottle_core::sidecar::Sidecar;
use bottle_core::specification::SidecarForm;
use bottle_host::audit::{self, UNRECORDED};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// How many connections through one door may be open at a time.
const MAX_CONNECTIONS: usize = 2048;
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// Serves a door until the task is aborted. The listener keeps the jail's network namespace alive,
/// so it has to be closed together with the jail.
pub fn serve(shared: &Arc<Shared>, sidecar: Sidecar, listener: TcpListener) -> Result<AbortHandle> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let shared = Arc::clone(shared);
    let served = match *shared.services.form(sidecar) {
        SidecarForm::Builtin => tokio::spawn(async move {
            match sidecar {
                Sidecar::Pipelock => shared.egress_proxy.serve(listener).await,
                Sidecar::GitGate => shared.git.serve(listener).await,
                Sidecar::Supervise => shared.supervise.serve(listener).await,
            }
        }),
        SidecarForm::Address { address } | SidecarForm::Command { address, .. } => {
            tokio::spawn(async move { relay(&shared, sidecar, address, listener).await })
        }
    };
    Ok(served.abort_handle())
}

async fn relay(
    shared: &Arc<Shared>,
    sidecar: Sidecar,
    address: SocketAddr,
    listener: tokio::net::TcpListener,
) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((door, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let _seat = seat;
            let since = Instant::now();
            let relayed = Relayed::default();
            let outcome = if shared.audit.may_allow() {
                connect(&shared, door, sidecar, address, &relayed).await
            } else {
                let _ = door.set_zero_linger();
                Err(std::io::Error::other(UNRECORDED))
            };
            let mut details = json!({
                "door": sidecar.name(),
                "address": address,
                "ms": audit::millis(since.elapsed()),
                "bytes_up": relayed.up.into_inner(),
                "bytes_down": relayed.down.into_inner(),
            });
            if let Err(error) = outcome {
                details["error"] = error.to_string().into();
            }
            shared.audit.caused("door", "connection", "", sidecar.name(), details);
        });
    }
}

async fn connect(
    shared: &Shared,
    mut door: TcpStream,
    sidecar: Sidecar,
    address: SocketAddr,
    relayed: &Relayed,
) -> std::io::Result<()> {
    let dialled = tokio::time::timeout(DIAL_LIMIT, TcpStream::connect(address)).await;
    let mut stream = match dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            // With nothing left to send, zero lingering turns the close into a reset, which the
            // client sees as a refusal.
            let _ = door.set_zero_linger();
            return Err(error);
        }
    };
    let _ = (door.set_nodelay(true), stream.set_nodelay(true));
    let details = json!({ "door": sidecar.name(), "address": address });
    shared.audit.caused("door", "opened", "", sidecar.name(), details);
    relay::both_ways(&mut door, &mut stream, relayed).await
}
