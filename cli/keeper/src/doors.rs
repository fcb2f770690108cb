//! What is behind each door: a built-in sidecar, or a relay to one that runs by itself.

use crate::relay;
use crate::shared::Shared;
use anyhow::Result;
use bottle_core::sidecar::Sidecar;
use bottle_core::specification::SidecarForm;
use bottle_guest::stream::again::Offers;
use bottle_guest::stream::relay::Relayed;
use bottle_guest::stream::socket::Socket;
use bottle_host::audit::{self, UNRECORDED};
use bottle_sidecars::http::Listener;
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::task::AbortHandle;

/// How many connections through one door may be open at a time.
const MAX_CONNECTIONS: usize = 2048;
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// Serves a door until the task is aborted. A listener keeps the jail's network namespace alive, so it must
/// be closed together with the jail.
pub fn serve(shared: &Arc<Shared>, sidecar: Sidecar, clients: Clients) -> Result<AbortHandle> {
    let shared = Arc::clone(shared);
    let served = match *shared.services.form(sidecar) {
        SidecarForm::Builtin => {
            let listener = match clients {
                Clients::Tcp(listener) => Listener::Tcp(listener),
                Clients::Streams(streams, offers) => {
                    Listener::Streams(streams, Arc::clone(&shared.counters.streams), offers)
                }
            };
            tokio::spawn(async move {
                match sidecar {
                    Sidecar::Pipelock => shared.egress_proxy.serve(listener).await,
                    Sidecar::GitGate => shared.git.serve(listener).await,
                    Sidecar::Supervise => shared.supervise.serve(listener).await,
                }
            })
        }
        SidecarForm::Address { address } | SidecarForm::Command { address, .. } => {
            tokio::spawn(async move { relay(&shared, sidecar, address, clients).await })
        }
    };
    Ok(served.abort_handle())
}

/// Where a door's clients come from.
pub enum Clients {
    /// A listener in the network namespace of a stack.
    Tcp(tokio::net::TcpListener),
    /// The streams that the guest's helper opens, and where their connections go afterwards.
    Streams(Receiver<Socket>, Offers),
}

impl Clients {
    /// Wraps a listener that another process created.
    pub fn of(listener: TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(tokio::net::TcpListener::from_std(listener)?))
    }

    /// Waits for the next client. `None` means that there will be no more.
    async fn next(&mut self) -> Option<Client> {
        match self {
            Self::Tcp(listener) => loop {
                if let Ok((client, _)) = listener.accept().await {
                    return Some(Client::Tcp(client));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            },
            Self::Streams(streams, offers) => {
                streams.recv().await.map(|stream| Client::Stream(stream, offers.clone()))
            }
        }
    }
}

/// A client of a door.
enum Client {
    Tcp(TcpStream),
    Stream(Socket, Offers),
}

async fn relay(shared: &Arc<Shared>, sidecar: Sidecar, address: SocketAddr, mut clients: Clients) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let Some(door) = clients.next().await else { return };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let _seat = seat;
            let since = Instant::now();
            let relayed = Relayed::default();
            let outcome = if shared.audit.may_allow() {
                connect(&shared, door, sidecar, address, &relayed).await
            } else {
                door.reset();
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
    door: Client,
    sidecar: Sidecar,
    address: SocketAddr,
    relayed: &Relayed,
) -> std::io::Result<()> {
    let dialled = tokio::time::timeout(DIAL_LIMIT, Socket::connect(address)).await;
    let server = match dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(server) => server,
        Err(error) => {
            door.reset();
            return Err(error);
        }
    };
    let _ = rustix::net::sockopt::set_tcp_nodelay(&server, true);
    let details = json!({ "door": sidecar.name(), "address": address });
    shared.audit.caused("door", "opened", "", sidecar.name(), details);
    match door {
        Client::Tcp(mut door) => {
            let _ = door.set_nodelay(true);
            let mut server = TcpStream::from_std(server.into_inner().into())?;
            relay::both_ways(&mut door, &mut server, relayed).await
        }
        Client::Stream(stream, offers) => {
            let done = offers.relay_server(&server, stream, relayed).await;
            shared.counters.streams.add(relayed);
            done
        }
    }
}

impl Client {
    /// Closes a connection that leads nowhere, so that the agent sees a refusal. With nothing left to send,
    /// zero lingering turns the close into a reset, and a stream without its end mark counts as one.
    fn reset(self) {
        if let Self::Tcp(door) = self {
            let _ = door.set_zero_linger();
        }
    }
}
