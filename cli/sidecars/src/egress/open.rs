//! The list of open connections. When a rule closes a host, its connections are closed too.

use crate::splice::{Pipe, Splice};
use bottle_core::egress::HostName;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The destination of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination<C> {
    /// The requested host.
    pub host: HostName,
    /// Its port.
    pub port: u16,
    /// Who chose the host.
    pub chooser: C,
}

/// The list of all open connections.
#[derive(Debug)]
pub struct OpenConnections<C>(Arc<Mutex<List<C>>>);

#[derive(Debug)]
struct List<C> {
    next: u64,
    all: BTreeMap<u64, (Destination<C>, Arc<Passed>)>,
}

impl<C> Clone for OpenConnections<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for OpenConnections<C> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(List { next: 0, all: BTreeMap::new() })))
    }
}

impl<C: Send + 'static> OpenConnections<C> {
    /// Registers a connection for as long as it lives.
    pub fn add<S>(&self, destination: Destination<C>, stream: S) -> Dialled<S> {
        let passed = Arc::new(Passed::default());
        let mut list = self.lock();
        let number = list.next;
        list.next += 1;
        list.all.insert(number, (destination, Arc::clone(&passed)));
        drop(list);
        let list = self.clone();
        let remove = RemoveOnDrop(Some(Box::new(move || drop(list.lock().all.remove(&number)))));
        Entry { closing: Box::pin(passed.closed.clone().cancelled_owned()), passed, _remove: remove }
            .on(stream)
    }

    /// Closes the connections for which `is_affected` holds, records `why`, and returns their number.
    pub fn close(&self, why: &'static str, is_affected: impl Fn(&Destination<C>) -> bool) -> usize {
        let list = self.lock();
        let affected: Vec<_> =
            list.all.values().filter(|(destination, _)| is_affected(destination)).collect();
        affected.iter().for_each(|(_, passed)| passed.close(why));
        affected.len()
    }

    /// Returns whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.lock().all.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, List<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RemoveOnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Some(remove) = self.0.take() {
            remove();
        }
    }
}

/// The byte counts of a connection, and why it was closed. They outlive the connection.
#[derive(Debug, Default)]
pub struct Passed {
    up: AtomicU64,
    down: AtomicU64,
    closed: CancellationToken,
    why: OnceLock<&'static str>,
}

impl Passed {
    /// Returns the number of bytes sent to the host.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Returns the number of bytes received from the host.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// Returns why this side closed the connection, if it did.
    pub fn why_closed(&self) -> Option<&'static str> {
        self.why.get().copied()
    }

    fn close(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.closed.cancel();
    }
}

/// A connection's entry in the list. Dropping it removes the entry.
pub struct Entry {
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    passed: Arc<Passed>,
    _remove: RemoveOnDrop,
}

impl Entry {
    /// Moves the entry to another stream that leads to the same destination.
    pub fn on<S>(self, stream: S) -> Dialled<S> {
        Dialled { stream, entry: self }
    }
}

/// A dialled connection, or a stream that runs over one.
pub struct Dialled<S = TcpStream> {
    stream: S,
    entry: Entry,
}

impl<S> Dialled<S> {
    /// Returns the stream and its entry in the list.
    pub fn into_parts(self) -> (S, Entry) {
        (self.stream, self.entry)
    }

    /// Returns the connection's byte counts.
    pub fn passed(&self) -> Arc<Passed> {
        Arc::clone(&self.entry.passed)
    }

    /// Waits until this side closes the connection.
    pub async fn closed(&mut self) {
        self.entry.closing.as_mut().await;
    }

    /// Fails once this side has closed the connection. One task polls both directions, so the waker of the
    /// last poll is the right one.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Result<()> {
        match self.entry.closing.as_mut().poll(context) {
            Poll::Ready(()) => {
                let why = self.entry.passed.why_closed().unwrap_or("it was closed");
                Err(Error::new(ErrorKind::ConnectionAborted, why))
            }
            Poll::Pending => Ok(()),
        }
    }

    fn wrote(&self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.entry.passed.up.fetch_add(bytes as u64, Relaxed);
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
        self.entry.passed.down.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
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
        // Whoever has nothing to read or to write now still flushes.
        self.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Splice> Splice for Dialled<S> {
    fn splices(&self) -> bool {
        self.stream.splices()
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize>> {
        self.poll_closed(context)?;
        let came = self.stream.poll_fill(context, pipe);
        if let Poll::Ready(Ok(bytes)) = came {
            self.entry.passed.down.fetch_add(bytes as u64, Relaxed);
        }
        came
    }

    fn poll_empty(&mut self, context: &mut Context<'_>, pipe: &Pipe, len: usize) -> Poll<Result<usize>> {
        self.poll_closed(context)?;
        let went = self.stream.poll_empty(context, pipe, len);
        self.wrote(went)
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
    use crate::egress::pass::both_ways;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[tokio::test]
    async fn closing_a_host_ends_reads_from_it_and_from_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = OpenConnections::default();
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
        assert_eq!(open.close("a rule", |destination| destination.host == "a.test".parse().unwrap()), 1);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!((passed.why_closed(), passed.up(), passed.down()), (Some("a rule"), 5, 0));
        assert_eq!(a_far.read(&mut [0; 8]).await.unwrap(), 0);
        b_far.write_all(b"still here").await.unwrap();
        b.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!((b.passed().why_closed(), b.passed().down()), (None, 10));
        assert!(!open.is_empty());
        drop(b);
        assert!(open.is_empty());
    }
    #[tokio::test]
    async fn closing_a_host_ends_a_tunnel_whose_client_reads_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut host = listener.accept().await.unwrap().0;
        let open = OpenConnections::default();
        let destination = Destination { host: "a.test".parse().unwrap(), port: 443, chooser: () };
        let mut dialled = open.add(destination, stream);
        let (_client, mut near) = tokio::io::duplex(1000);
        let passing = tokio::spawn(async move { both_ways(&mut near, &mut dialled).await });
        // Until there is no room left.
        while timeout(Duration::from_millis(300), host.write_all(&[0; 1 << 20])).await.is_ok() {}
        assert_eq!(open.close("a rule", |_| true), 1);
        let ended = timeout(Duration::from_secs(5), passing).await.unwrap().unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
