//! Connections that are open, so that a rule which closes their host closes them, too.

use bottle_core::egress::HostName;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination<C> {
    /// The host that was asked for.
    pub host: HostName,
    /// Its port.
    pub port: u16,
    /// Who chose the host.
    pub chooser: C,
}

/// Every connection that is open.
#[derive(Debug)]
pub struct Open<C>(Arc<Mutex<List<C>>>);

#[derive(Debug)]
struct List<C> {
    next: u64,
    all: BTreeMap<u64, (Destination<C>, CancellationToken)>,
}

impl<C> Clone for Open<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for Open<C> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(List { next: 0, all: BTreeMap::new() })))
    }
}

impl<C: Send + 'static> Open<C> {
    /// Puts a connection on the list, for as long as it lives.
    pub fn add(&self, destination: Destination<C>, stream: TcpStream) -> Dialled {
        let closed = CancellationToken::new();
        let mut list = self.lock();
        let number = list.next;
        list.next += 1;
        list.all.insert(number, (destination, closed.clone()));
        drop(list);
        let list = self.clone();
        let leave = Leave(Some(Box::new(move || drop(list.lock().all.remove(&number)))));
        Listed {
            closing: Box::pin(closed.clone().cancelled_owned()),
            passed: Arc::new(Passed { up: 0.into(), down: 0.into(), closed }),
            _leave: leave,
        }
        .on(stream)
    }

    /// Closes those of which this is so, and says how many they were.
    pub fn close(&self, is_meant: impl Fn(&Destination<C>) -> bool) -> usize {
        let list = self.lock();
        let meant: Vec<_> = list.all.values().filter(|(destination, _)| is_meant(destination)).collect();
        meant.iter().for_each(|(_, closed)| closed.cancel());
        meant.len()
    }

    fn lock(&self) -> MutexGuard<'_, List<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Leave(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

/// What passed over a connection, however it ended.
#[derive(Debug)]
pub struct Passed {
    up: AtomicU64,
    down: AtomicU64,
    closed: CancellationToken,
}

impl Passed {
    /// Bytes to the host.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes from the host.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// Whether a rule closed it.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

/// A connection's place on the list. It leaves with the value.
pub struct Listed {
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    passed: Arc<Passed>,
    _leave: Leave,
}

impl Listed {
    /// The stream that has this place from now on.
    pub fn on<S>(self, stream: S) -> Dialled<S> {
        Dialled { stream, listed: self }
    }
}

/// A connection that was dialled, or a stream that leads over one.
pub struct Dialled<S = TcpStream> {
    stream: S,
    listed: Listed,
}

impl<S> Dialled<S> {
    /// The stream, and its place.
    pub fn into_parts(self) -> (S, Listed) {
        (self.stream, self.listed)
    }

    /// What passes over it.
    pub fn passed(&self) -> Arc<Passed> {
        Arc::clone(&self.listed.passed)
    }

    /// One task has both directions of a connection, so the waker of the last poll is the right one.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Result<()> {
        match self.listed.closing.as_mut().poll(context) {
            Poll::Ready(()) => Err(Error::new(ErrorKind::ConnectionAborted, "a rule closed it")),
            Poll::Pending => Ok(()),
        }
    }

    fn wrote(&self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.listed.passed.up.fetch_add(bytes as u64, Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Dialled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.poll_closed(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.listed.passed.down.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Dialled<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.poll_closed(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.poll_closed(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Connection for Dialled<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_is_closed_while_it_is_read_and_others_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = Open::default();
        let mut connections = Vec::new();
        for host in ["a.test", "b.test"] {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let destination = Destination { host: host.parse().unwrap(), port: 443, chooser: () };
            connections.push((open.add(destination, stream), listener.accept().await.unwrap().0));
        }
        let (mut b, mut b_far) = connections.pop().unwrap();
        let (mut a, mut a_far) = connections.pop().unwrap();
        let passed = a.passed();
        a.write_all(b"hello").await.unwrap();
        let reading = tokio::spawn(async move { a.read(&mut [0; 8]).await });
        a_far.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(open.close(|destination| destination.host == "a.test".parse().unwrap()), 1);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert!(passed.is_closed() && (passed.up(), passed.down()) == (5, 0));
        assert_eq!(a_far.read(&mut [0; 8]).await.unwrap(), 0);
        b_far.write_all(b"still here").await.unwrap();
        b.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!((b.passed().is_closed(), b.passed().down()), (false, 10));
        drop(b);
        assert_eq!(open.close(|_| true), 0);
    }
}
