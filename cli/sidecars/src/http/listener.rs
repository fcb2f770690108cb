//! Where a sidecar's clients come from: a TCP listener in the jail, or the streams of the guest's helper.

use super::client::Stream;
use bottle_guest::stream::again::Offers;
use bottle_guest::stream::door::DoorStream;
use bottle_guest::stream::relay::Relayed;
use bottle_guest::stream::socket::Socket;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;

/// The clients of a door, one after the other.
#[derive(Debug)]
pub enum Listener {
    /// A listener in the network namespace of a stack.
    Tcp(TcpListener),
    /// The streams that the helper opens, the counters for their bytes, and where their connections go afterwards.
    Streams(Receiver<Socket>, Arc<Relayed>, Offers),
}

impl Listener {
    /// Waits for the next client.
    ///
    /// # Errors
    /// Returns an error if the listener failed. It keeps failing once its stack is gone.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Streams(streams, relayed, offers) => {
                let socket = streams.recv().await.ok_or(io::ErrorKind::NotConnected)?;
                Ok(Stream::Door(DoorStream::new(socket, Arc::clone(relayed), offers.clone())))
            }
        }
    }
}
