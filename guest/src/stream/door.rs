//! The keeper's end of a stream, for a sidecar in the same process.

use super::again::Offers;
use super::relay::Relayed;
use super::socket::{Socket, try_write};
use bottle_core::stream::{HEAD_LEN, Incoming, Next, Outgoing};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// What is left from the other side of a connection once it has finished sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Bytes that were sent earlier and are still unread.
    More,
    /// Nothing: the connection ended in order.
    Nothing,
    /// Nothing: the connection was broken off.
    BrokenOff,
}

/// A stream, read and written as bytes. Like a TCP connection, it ends in order if it is dropped between two
/// writes.
#[derive(Debug)]
pub struct DoorStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: Socket,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    relayed: Arc<Relayed>,
    offers: Offers,
}

impl DoorStream {
    /// Wraps a stream whose opening has been read. The bytes to and from the sidecar are added to `relayed`, and the
    /// connection is offered afterwards.
    pub fn new(socket: Socket, relayed: Arc<Relayed>, offers: Offers) -> Self {
        let (incoming, outgoing) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { socket, incoming, outgoing, relayed, offers }))
    }

    /// Reads into `buffer` once there is something to read. Zero means the end.
    ///
    /// # Errors
    /// Returns an error if the stream was broken off, or does not follow the format.
    pub fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut incoming = lock(&self.0.incoming);
        loop {
            let mut head = [0; HEAD_LEN];
            let (len, ahead) = match incoming.next() {
                Next::End => return Poll::Ready(Ok(0)),
                Next::Head(missing) => (0, missing),
                // The next head is read along with the rest of this chunk.
                Next::Payload(left) if left <= buffer.len() => (left, HEAD_LEN),
                Next::Payload(_) => (buffer.len(), 0),
            };
            let mut parts = [IoSliceMut::new(&mut buffer[..len]), IoSliceMut::new(&mut head[..ahead])];
            let read = ready!(self.0.socket.poll_read(context, &mut parts))?;
            if read == 0 && len + ahead > 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let came = read.min(len);
            incoming.payload(came);
            incoming.head(&head[..read - came]).map_err(io::Error::other)?;
            if came > 0 || buffer.is_empty() {
                self.0.relayed.up.fetch_add(came as u64, Relaxed);
                return Poll::Ready(Ok(came));
            }
        }
    }

    /// Writes some of `parts` once there is room.
    ///
    /// # Errors
    /// Returns an error if the stream was broken off.
    pub fn poll_write(&self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        /// Enough for the head and body of a response, and for the framing of a chunk.
        const MOST: usize = 8;
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        if whole == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut outgoing = lock(&self.0.outgoing);
        loop {
            let mut allowed = outgoing.announce(parts.iter().take(MOST).map(|part| part.len()).sum());
            if allowed == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let mut all = [IoSlice::new(&[]); MOST + 1];
            all[0] = IoSlice::new(outgoing.head());
            for (to, part) in all[1..].iter_mut().zip(parts) {
                let now = part.len().min(allowed);
                *to = IoSlice::new(&part[..now]);
                allowed -= now;
            }
            let sent = ready!(self.0.socket.poll_write(context, &all))?;
            let written = outgoing.wrote(sent);
            if written > 0 {
                self.0.relayed.down.fetch_add(written as u64, Relaxed);
                return Poll::Ready(Ok(written));
            }
        }
    }

    /// Ends the direction to the helper.
    ///
    /// # Errors
    /// Returns an error if the stream was broken off, or if a write was given up in the middle.
    pub fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outgoing = lock(&self.0.outgoing);
        // The rest of an announced chunk will never come.
        if !outgoing.end() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while !outgoing.is_complete() {
            let sent = ready!(self.0.socket.poll_write(context, &[IoSlice::new(outgoing.head())]))?;
            outgoing.wrote(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the agent has finished sending. Bytes that it sent earlier may still be unread.
    pub async fn read_closed(&self) {
        self.0.socket.read_closed().await;
    }

    /// Returns what is left of what the agent sent. On a second call, a stream that was broken off may look
    /// as if it had ended, because the system reports that only once.
    pub fn rest(&self) -> Rest {
        let incoming = lock(&self.0.incoming).clone();
        let mut ahead = [1; HEAD_LEN + 1];
        match (incoming.next(), self.0.socket.peek(&mut ahead)) {
            (Next::End, _) => Rest::Nothing,
            (Next::Head(HEAD_LEN), Some(HEAD_LEN)) if ahead[..HEAD_LEN] == [0; HEAD_LEN] => Rest::Nothing,
            (Next::Head(missing), Some(waiting)) if waiting > missing => Rest::More,
            (Next::Payload(_), Some(1..)) => Rest::More,
            _ => Rest::BrokenOff,
        }
    }
}

impl Drop for DoorStream {
    fn drop(&mut self) {
        let mut outgoing = lock(&self.0.outgoing);
        if !outgoing.end() {
            return;
        }
        while !outgoing.is_complete() {
            match try_write(self.0.socket.as_fd(), &[IoSlice::new(outgoing.head())]) {
                Ok(sent) => _ = outgoing.wrote(sent),
                // There is no room for the end mark, so the agent sees that the stream was broken off.
                Err(_) => return,
            }
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let inner = Arc::clone(&self.0);
        runtime.spawn(async move {
            // Otherwise the stream is still being dropped on another thread, and its connection is closed.
            if let Some(Inner { socket, incoming, offers, .. }) = Arc::into_inner(inner) {
                offers.finish(socket, incoming.into_inner().unwrap_or_else(PoisonError::into_inner)).await;
            }
        });
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
