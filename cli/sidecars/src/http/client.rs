//! A client's socket, and whether the client still waits for its response.

use crate::splice::{self, Pipe, Splice};
use bottle_guest::stream::door::{DoorStream, Rest};
use hyper::body::{Body, Frame, SizeHint};
use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client that closes its side this soon after its last byte has sent everything and still reads, as
/// `printf | nc` does. One that closes it later has given up.
const HALF_CLOSED: Duration = Duration::from_millis(250);
/// A client that has closed its side, and of whose earlier bytes none can be passed on for so long, has given up: it may
/// have left in the middle of an upload.
const STALLED: Duration = Duration::from_secs(30);

/// An accepted client connection.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A stream from the guest's helper.
    Door(DoorStream),
}

/// A client's socket. Clones share the socket.
#[derive(Clone, Debug)]
pub struct Socket {
    stream: Arc<Stream>,
    last_read: Arc<Mutex<Instant>>,
    /// Whether the client was found to have closed only its own side.
    half_closed: Arc<AtomicBool>,
}

impl Socket {
    /// Wraps an accepted connection.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream: Arc::new(stream),
            last_read: Arc::new(Mutex::new(Instant::now())),
            half_closed: Arc::default(),
        }
    }

    /// Waits until the client has given up. It waits forever for a client that only closed its own side.
    pub async fn given_up(self) {
        self.stream.read_closed().await;
        let mut was_behind = false;
        while !self.half_closed.load(Relaxed) {
            let idle = self.last_read.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            match self.stream.rest() {
                // The client's earlier bytes are still unread, so it cannot be waiting yet.
                Rest::More if idle < STALLED => {
                    was_behind = true;
                    tokio::time::sleep(HALF_CLOSED).await;
                }
                Rest::Nothing if was_behind || idle < HALF_CLOSED => self.half_closed.store(true, Relaxed),
                Rest::More | Rest::Nothing | Rest::BrokenOff => return,
            }
        }
        std::future::pending::<()>().await;
    }
}

impl Stream {
    /// Waits until the client has finished sending. Bytes that it sent earlier may still be unread.
    async fn read_closed(&self) {
        match self {
            Self::Tcp(stream) => read_closed(stream).await,
            Self::Door(stream) => stream.read_closed().await,
        }
    }

    /// Returns what is left of what the client sent.
    fn rest(&self) -> Rest {
        match self {
            Self::Tcp(stream) => {
                let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
                match rustix::net::recv(stream, &mut [0], flags) {
                    Ok((1.., _)) => Rest::More,
                    Ok((0, _)) => Rest::Nothing,
                    Err(_) => Rest::BrokenOff,
                }
            }
            Self::Door(stream) => stream.rest(),
        }
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_read_ready(context))?;
                match stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            },
            Self::Door(stream) => {
                let read = ready!(stream.poll_read(context, buffer.initialize_unfilled()))?;
                buffer.advance(read);
                Poll::Ready(Ok(read))
            }
        }
    }

    fn poll_write(&self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_write_ready(context))?;
                match stream.try_write_vectored(parts) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            },
            Self::Door(stream) => stream.poll_write(context, parts),
        }
    }

    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(stream) => {
                Poll::Ready(Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Write)?))
            }
            Self::Door(stream) => stream.poll_shutdown(context),
        }
    }
}

/// Waits until the client has finished sending.
#[cfg(target_os = "linux")]
async fn read_closed(stream: &TcpStream) {
    use tokio::io::{Interest, Ready};
    // Unlike `READABLE`, this is not ready merely because there is something to read.
    while let Ok(ready) = stream.ready(Interest::PRIORITY).await {
        if ready.is_read_closed() {
            return;
        }
        if ready == Ready::EMPTY {
            continue;
        }
        // Urgent data, which no real client sends, must not keep this loop busy.
        tokio::time::sleep(HALF_CLOSED).await;
    }
}

/// Waits forever, because this system does not report a closed side.
#[cfg(not(target_os = "linux"))]
async fn read_closed(_: &TcpStream) {
    std::future::pending::<()>().await;
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if ready!(self.stream.poll_read(context, buffer))? > 0 {
            *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.stream.poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.stream.poll_write(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream.poll_shutdown(context)
    }
}

impl Splice for Socket {
    fn splices(&self) -> bool {
        matches!(*self.stream, Stream::Tcp(_))
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize>> {
        match &*self.stream {
            Stream::Tcp(stream) => splice::poll_fill(stream, context, pipe),
            Stream::Door(_) => Poll::Ready(Err(ErrorKind::Unsupported.into())),
        }
    }

    fn poll_empty(&mut self, context: &mut Context<'_>, pipe: &Pipe, len: usize) -> Poll<Result<usize>> {
        match &*self.stream {
            Stream::Tcp(stream) => splice::poll_empty(stream, context, pipe, len),
            Stream::Door(_) => Poll::Ready(Err(ErrorKind::Unsupported.into())),
        }
    }
}

/// The error of a client that has given up.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has given up")
    }
}

impl Error for GivenUp {}

/// A response's body that ends when the client gives up.
pub struct Watched<B> {
    body: Pin<Box<B>>,
    given_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> Watched<B> {
    pub fn new(body: B, client: Option<Socket>) -> Self {
        let given_up =
            client.map(|client| Box::pin(client.given_up()) as Pin<Box<dyn Future<Output = ()> + Send>>);
        Self { body: Box::pin(body), given_up }
    }
}

impl<B: Body<Error: Into<Box<dyn Error + Send + Sync>>>> Body for Watched<B> {
    type Data = B::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<B::Data>, Self::Error>>> {
        if let Some(given_up) = &mut self.given_up
            && given_up.as_mut().poll(context).is_ready()
        {
            self.given_up = None;
            return Poll::Ready(Some(Err(GivenUp.into())));
        }
        self.body.as_mut().poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Socket::new(Stream::Tcp(listener.accept().await.unwrap().0)))
    }

    #[tokio::test]
    async fn a_client_that_leaves_while_it_waits_has_given_up() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"ask").await.unwrap();
        socket.read_exact(&mut [0; 3]).await.unwrap();
        let given_up = tokio::spawn(socket.clone().given_up());
        tokio::time::sleep(HALF_CLOSED).await;
        assert!(!given_up.is_finished());
        // Sending more changes nothing.
        client.write_all(b"more").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!given_up.is_finished());
        socket.read_exact(&mut [0; 4]).await.unwrap();
        tokio::time::sleep(HALF_CLOSED).await;
        drop(client);
        timeout(Duration::from_secs(5), given_up).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_closes_its_half_at_once_still_waits() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"ask").await.unwrap();
        client.shutdown().await.unwrap();
        socket.read_exact(&mut [0; 3]).await.unwrap();
        // The same holds later, when there is a response.
        for _ in 0..2 {
            assert!(timeout(2 * HALF_CLOSED, socket.clone().given_up()).await.is_err());
        }
        socket.write_all(b"answer").await.unwrap();
        drop(socket);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn a_client_that_resets_has_given_up_at_once() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"ask").await.unwrap();
        socket.read_exact(&mut [0; 3]).await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        timeout(Duration::from_secs(5), socket.given_up()).await.unwrap();
    }
}
