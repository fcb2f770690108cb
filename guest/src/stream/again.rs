//! A connection between helper and keeper that carries one stream after the other.
//!
//! Connecting costs either side more than a short stream does. So once both directions of a stream have ended, the
//! keeper may offer its connection for another one ([`AGAIN`]), and the helper keeps it ready. How many connections
//! may wait like that is the keeper's decision ([`Offers`]). Any other connection is closed, the keeper's side first.

use super::relay::{Relayed, end, from_stream, to_stream};
use super::socket::Socket;
use bottle_core::stream::{AGAIN, HEAD_LEN, Incoming, Next, Opening, Outgoing};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How soon after the agent's end a door has to end, too. A door that takes longer may be busy, and only a closed half
/// tells it that nobody waits any more.
const PROMPT: Duration = Duration::from_millis(50);
/// How long either side waits for the other's last word.
const LIMIT: Duration = Duration::from_secs(10);

/// Relays the agent's connection over a stream that begins with this opening, as the helper. Returns whether the
/// keeper may offer the stream's connection: wait for that with [`is_offered`], without the agent's connection.
///
/// # Errors
/// Returns the reason for breaking off.
pub async fn relay_agent(agent: &Socket, stream: &Socket, opening: Opening) -> io::Result<bool> {
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let door_ended = Notify::new();
    let there = async {
        let mut outgoing = Outgoing::opening(opening);
        to_stream(agent, stream, &mut outgoing, &up).await?;
        end(stream, &mut outgoing).await?;
        let is_prompt = timeout(PROMPT, door_ended.notified()).await.is_ok();
        if !is_prompt {
            stream.shut();
        }
        Ok(is_prompt)
    };
    let back = async {
        from_stream(stream, agent, &down).await?;
        door_ended.notify_one();
        io::Result::Ok(())
    };
    tokio::try_join!(there, back).map(|(is_prompt, ())| is_prompt)
}

/// Waits until the keeper offers a connection whose stream has ended, or closes it.
pub async fn is_offered(stream: &Socket) -> bool {
    let mut said = [0];
    matches!(timeout(LIMIT, stream.read(&mut said)).await, Ok(Ok(1))) && said == [AGAIN]
}

/// The connections that wait for another stream.
#[derive(Clone, Debug)]
pub struct Offers {
    places: Arc<Semaphore>,
    offered: Sender<Offered>,
}

/// A connection that was offered, and the place that it takes until it begins again.
pub type Offered = (Socket, OwnedSemaphorePermit);

impl Offers {
    /// Offers at most this many connections at a time. They come out of the receiver.
    pub fn new(most: usize) -> (Self, Receiver<Offered>) {
        let (offered, receiver) = channel(most.max(1));
        (Self { places: Arc::new(Semaphore::new(most)), offered }, receiver)
    }

    /// Relays a stream to a server, as the keeper, and afterwards offers its connection, or closes it.
    ///
    /// # Errors
    /// Returns the reason for breaking off.
    pub async fn relay_server(&self, server: &Socket, stream: Socket, relayed: &Relayed) -> io::Result<()> {
        let agent_ended = AtomicBool::new(false);
        let there = async {
            from_stream(&stream, server, &relayed.up).await?;
            agent_ended.store(true, Relaxed);
            Ok(())
        };
        let back = async {
            let mut outgoing = Outgoing::default();
            to_stream(server, &stream, &mut outgoing, &relayed.down).await?;
            // The end and the offer are one write if they can be.
            let place = if agent_ended.load(Relaxed) { self.place() } else { None };
            outgoing.end();
            let last = [outgoing.head(), if place.is_some() { &[AGAIN] } else { &[] }].concat();
            stream.write_all(&last).await?;
            io::Result::Ok(place)
        };
        match tokio::try_join!(there, back) {
            Ok(((), Some(place))) => self.give(stream, place),
            Ok(((), None)) => self.offer_or_close(stream).await,
            Err(error) => {
                server.reset_on_close(true);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads the rest of what the agent sends after the door has ended, and offers the connection, or closes it.
    pub(super) async fn finish(&self, stream: Socket, incoming: Incoming) {
        if matches!(timeout(LIMIT, until_end(&stream, incoming)).await, Ok(Ok(()))) {
            self.offer_or_close(stream).await;
        }
    }

    async fn offer_or_close(&self, stream: Socket) {
        match self.place() {
            Some(place) if stream.write_all(&[AGAIN]).await.is_ok() => self.give(stream, place),
            _ => {
                stream.shut();
                stream.drain().await;
            }
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// There is room for each that has a place. If nobody takes them any more, it is closed.
    fn give(&self, stream: Socket, place: OwnedSemaphorePermit) {
        let _ = self.offered.try_send((stream, place));
    }
}

/// Reads a stream up to its end, and drops what comes.
async fn until_end(stream: &Socket, mut incoming: Incoming) -> io::Result<()> {
    let mut dropped = [0; 256];
    loop {
        let (len, is_head) = match incoming.next() {
            Next::Head(len) => (len.min(HEAD_LEN), true),
            Next::Payload(len) => (len.min(dropped.len()), false),
            Next::End => return Ok(()),
        };
        let read = stream.read(&mut dropped[..len]).await?;
        match (read, is_head) {
            (0, _) => return Err(io::ErrorKind::ConnectionReset.into()),
            (_, true) => incoming.head(&dropped[..read]).map_err(io::Error::other)?,
            (_, false) => incoming.payload(read),
        }
    }
}
