//! Accepts the agent's connections to the doors, and opens a stream for each.

use super::keeper::Way;
use crate::stream::again;
use crate::stream::socket::{Listener, Socket};
use anyhow::{Context, Result};
use bottle_core::stream::Opening;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How many connections to the keeper are kept ready for the agent's next ones. Connecting takes a round trip
/// through the virtual machine's process.
const READY: usize = 8;
/// How many connections that the keeper has offered are kept.
const MOST_READY: usize = 32;

/// The doors inside the guest.
pub struct Doors(Vec<(NonZeroU16, TcpListener)>);

impl Doors {
    /// Listens on the doors' ports.
    ///
    /// # Errors
    /// Returns an error if something in the guest uses one of them.
    pub fn open(address: Ipv4Addr, ports: &[NonZeroU16]) -> Result<Self> {
        let listen = |&port: &NonZeroU16| {
            let listener = TcpListener::bind(SocketAddrV4::new(address, port.get()))
                .with_context(|| format!("cannot listen on {address}:{port}"))?;
            listener.set_nonblocking(true)?;
            // The agent's connections inherit both. Whatever ends one early, the agent sees a reset.
            rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
            rustix::net::sockopt::set_socket_linger(&listener, Some(Duration::ZERO))?;
            Ok((port, listener))
        };
        Ok(Self(ports.iter().map(listen).collect::<Result<_>>()?))
    }

    /// Serves the doors until the keeper closes `reports`. Then all of the agent's connections are reset, and
    /// the doors are closed.
    pub fn serve(self, way: &Way, reports: UnixStream) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let keeper = Arc::new(Keeper { way: way.clone(), ready: Mutex::default() });
            keeper.fill();
            let mut doors = JoinSet::new();
            for (port, listener) in self.0 {
                doors.spawn(accept(Arc::clone(&keeper), port, listener));
            }
            // The keeper sends nothing here.
            let _ = Socket::new(reports)?.read(&mut [0]).await;
            Ok(())
        })
    }
}

async fn accept(keeper: Arc<Keeper>, port: NonZeroU16, listener: TcpListener) -> Result<()> {
    let listener = Listener::new(listener)?;
    // The connections end with this task.
    let mut agents = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = agents.join_next() => continue,
        };
        match accepted {
            Ok(agent) => _ = agents.spawn(carry(Arc::clone(&keeper), port, agent)),
            // Descriptors have probably run out. Try again, but not in a busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Relays one connection of the agent.
async fn carry(keeper: Arc<Keeper>, port: NonZeroU16, agent: Socket) {
    let Ok(stream) = keeper.stream().await else { return };
    let Ok(may_be_offered) = again::relay_agent(&agent, &stream, Opening::Door(port)).await else { return };
    agent.reset_on_close(false);
    drop(agent);
    if may_be_offered && again::is_offered(&stream).await {
        keeper.keep(stream);
    } else {
        stream.drain().await;
    }
}

/// The keeper, and the connections to it that are ready.
struct Keeper {
    way: Way,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    sockets: VecDeque<Socket>,
    is_filling: bool,
}

impl Keeper {
    /// Returns a connection for a stream.
    async fn stream(self: &Arc<Self>) -> io::Result<Socket> {
        let ready = self.next();
        self.fill();
        match ready {
            Some(stream) => Ok(stream),
            None => self.connect().await,
        }
    }

    /// Keeps a connection that the keeper has offered, unless there are enough.
    fn keep(&self, stream: Socket) {
        let mut ready = self.lock();
        if ready.sockets.len() < MOST_READY {
            ready.sockets.push_back(stream);
        }
    }

    /// Takes a ready connection that the keeper has not closed: the one that was used last.
    fn next(&self) -> Option<Socket> {
        let mut ready = self.lock();
        while let Some(socket) = ready.sockets.pop_back() {
            if socket.peek(&mut [0]).is_none() {
                return Some(socket);
            }
        }
        None
    }

    /// Prepares connections in the background, several at a time, so that most of the agent's connections do
    /// not share the processor with this.
    fn fill(self: &Arc<Self>) {
        let mut ready = self.lock();
        if ready.is_filling || ready.sockets.len() > READY / 2 {
            return;
        }
        ready.is_filling = true;
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let connected = keeper.connect().await;
                let mut ready = keeper.lock();
                match connected {
                    Ok(socket) => ready.sockets.push_back(socket),
                    Err(_) => ready.is_filling = false,
                }
                if ready.sockets.len() >= READY {
                    ready.is_filling = false;
                }
                if !ready.is_filling {
                    return;
                }
            }
        });
    }

    async fn connect(&self) -> io::Result<Socket> {
        let way = self.way.clone();
        Socket::new(tokio::task::spawn_blocking(move || way.connect()).await??)
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
