//! Connections whose bytes can stay in the kernel on their way from one to the other.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io::{ErrorKind, Result};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use bottle_guest::stream::splice::Pipe;

/// A system without pipes of this kind has none.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub enum Pipe {}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
impl Pipe {
    pub fn new() -> Option<Self> {
        None
    }

    fn fill_from(&self, _: &TcpStream, _: usize) -> Result<usize> {
        match *self {}
    }

    fn empty_into(&self, _: &TcpStream, _: usize) -> Result<usize> {
        match *self {}
    }
}

/// A connection, or a stream that watches over one: it counts spliced bytes like any others, and breaks off at the same
/// moments.
pub trait Splice {
    /// Returns whether bytes may pass without being read.
    fn splices(&self) -> bool {
        false
    }

    /// Fills an empty pipe with what has come. Zero means the end.
    fn poll_fill(&mut self, _: &mut Context<'_>, _: &Pipe) -> Poll<Result<usize>> {
        Poll::Ready(Err(ErrorKind::Unsupported.into()))
    }

    /// Moves at most `len` bytes out of a pipe.
    fn poll_empty(&mut self, _: &mut Context<'_>, _: &Pipe, _len: usize) -> Poll<Result<usize>> {
        Poll::Ready(Err(ErrorKind::Unsupported.into()))
    }
}

/// It may be anything, TLS for example.
impl Splice for TokioIo<Upgraded> {}

impl Splice for TcpStream {
    fn splices(&self) -> bool {
        true
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize>> {
        poll_fill(self, context, pipe)
    }

    fn poll_empty(&mut self, context: &mut Context<'_>, pipe: &Pipe, len: usize) -> Poll<Result<usize>> {
        poll_empty(self, context, pipe, len)
    }
}

/// Fills an empty pipe with what has come over a TCP connection, as [`Splice::poll_fill`] does.
pub fn poll_fill(stream: &TcpStream, context: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(context))?;
        // The pipe is empty, so only the connection can have nothing to give.
        match stream.try_io(Interest::READABLE, || pipe.fill_from(stream, usize::MAX)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

/// Moves bytes out of a pipe to a TCP connection, as [`Splice::poll_empty`] does.
pub fn poll_empty(
    stream: &TcpStream,
    context: &mut Context<'_>,
    pipe: &Pipe,
    len: usize,
) -> Poll<Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || pipe.empty_into(stream, len)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}
