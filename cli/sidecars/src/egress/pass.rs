//! Passes bytes between two connections, both ways, until both have ended.
//!
//! An idle pair has no buffer of its own: bytes are read into one that all connections of the thread share. Only
//! what the other side does not take at once is kept, at most [`SCRATCH`] bytes for each direction. Many bytes are
//! spliced, where both connections can do that.

use crate::splice::{Pipe, Splice};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are read at once. With 2,048 connections to somebody who takes nothing, 64 MiB are kept.
const SCRATCH: usize = 32 << 10;

/// A direction in which no more than this many bytes come at once is not spliced. It would keep a pipe for nothing, and a
/// user has few pages for them.
const FEW: usize = 4 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Passes bytes until both sides have sent everything, and returns how many went from `a` to `b`, and back. When a
/// side closes its half, the other side's half is closed, too. A side that this process closes is noticed while the other
/// one takes nothing.
///
/// # Errors
/// Returns an error if either side breaks off.
pub async fn both_ways<A, B>(a: &mut A, b: &mut B) -> Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Splice + Unpin,
    B: AsyncRead + AsyncWrite + Splice + Unpin,
{
    let (mut there, mut back) = (Direction::default(), Direction::default());
    poll_fn(|context| {
        // Both may be waited for by a write to the other one, and neither read. What they have is flushed below.
        let _ = Pin::new(&mut *a).poll_flush(context)?;
        let _ = Pin::new(&mut *b).poll_flush(context)?;
        let is_there = there.poll(context, a, b)?.is_ready();
        let is_back = back.poll(context, b, a)?.is_ready();
        if is_there && is_back { Poll::Ready(Ok((there.passed, back.passed))) } else { Poll::Pending }
    })
    .await
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Passing,
    Closing,
    Closed,
}

/// One direction.
#[derive(Default)]
struct Direction {
    state: State,
    /// What was read and is not written yet.
    rest: Vec<u8>,
    /// What bytes are spliced through, and how many are in it.
    pipe: Option<(Pipe, usize)>,
    needs_flush: bool,
    /// Whether no more than a few bytes came at once, which are copied from then on.
    is_slow: bool,
    passed: u64,
}

impl Direction {
    fn poll<F, T>(&mut self, context: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<Result<()>>
    where
        F: AsyncRead + Splice + Unpin,
        T: AsyncWrite + Splice + Unpin,
    {
        loop {
            match self.state {
                State::Passing if self.pipe.is_some() => ready!(self.poll_splice(context, from, to))?,
                State::Passing => ready!(self.poll_pass(context, from, to))?,
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what is left, and then passes on the next bytes.
    fn poll_pass<F, T>(&mut self, context: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<Result<()>>
    where
        F: AsyncRead + Splice + Unpin,
        T: AsyncWrite + Splice + Unpin,
    {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(context, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..written);
        }
        self.rest = Vec::new();
        let may_splice = from.splices() && to.splices();
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            if Pin::new(from).poll_read(context, &mut buffer)?.is_pending() {
                if self.needs_flush {
                    ready!(Pin::new(to).poll_flush(context))?;
                    self.needs_flush = false;
                }
                return Poll::Pending;
            }
            let came = buffer.filled();
            if came.is_empty() {
                self.state = State::Closing;
                return Poll::Ready(Ok(()));
            }
            self.needs_flush = true;
            self.passed += came.len() as u64;
            // Usually there is room, and nothing has to be kept.
            let written = match Pin::new(to).poll_write(context, came)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.rest = came[written..].to_vec();
            if came.len() == SCRATCH && self.rest.is_empty() && may_splice {
                self.pipe = Pipe::new().map(|pipe| (pipe, 0));
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Passes on what is in the pipe, and then fills it again.
    fn poll_splice<F, T>(&mut self, context: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<Result<()>>
    where
        F: Splice,
        T: Splice,
    {
        while let Some((pipe, left @ 1..)) = &mut self.pipe {
            let went = ready!(to.poll_empty(context, pipe, *left))?;
            if went == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            *left -= went;
        }
        if std::mem::take(&mut self.is_slow) {
            self.pipe = None;
        }
        if let Some((pipe, left)) = &mut self.pipe {
            *left = ready!(from.poll_fill(context, pipe))?;
            self.passed += *left as u64;
            self.is_slow = *left <= FEW;
            if *left == 0 {
                (self.pipe, self.state) = (None, State::Closing);
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};

    impl Splice for DuplexStream {}

    #[tokio::test]
    async fn bytes_pass_both_ways_past_a_slow_reader_and_each_half_ends_by_itself() {
        // So little room that most of what is read has to wait.
        let ((client, mut a), (mut b, server)) = (duplex(700), duplex(900));
        let passing = tokio::spawn(async move { both_ways(&mut a, &mut b).await });
        let up: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let down: Vec<u8> = up.iter().rev().copied().collect();
        let (sent, answered) = (up.clone(), down.clone());
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let asking = tokio::spawn(async move {
            to_client.write_all(&sent).await.unwrap();
            to_client.shutdown().await.unwrap();
        });
        let answering = tokio::spawn(async move {
            let mut heard = Vec::new();
            // The client has closed its half, and still gets the answer.
            from_server.read_to_end(&mut heard).await.unwrap();
            to_server.write_all(&answered).await.unwrap();
            to_server.shutdown().await.unwrap();
            heard
        });
        let mut heard = Vec::new();
        from_client.read_to_end(&mut heard).await.unwrap();
        asking.await.unwrap();
        assert!(answering.await.unwrap() == up && heard == down);
        assert_eq!(passing.await.unwrap().unwrap(), (300_000, 300_000));
    }

    #[tokio::test]
    async fn it_ends_when_a_side_that_is_written_to_is_gone() {
        let ((mut client, mut a), (mut b, server)) = (duplex(64), duplex(64));
        drop(server);
        let passing = tokio::spawn(async move { both_ways(&mut a, &mut b).await });
        let _ = client.write_all(&[1; 64]).await;
        assert!(passing.await.unwrap().is_err());
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn many_bytes_are_spliced_few_are_copied_again_and_each_half_ends_by_itself() {
        let ((client, mut a), (mut b, server)) = (pair().await, pair().await);
        let passing = tokio::spawn(async move { both_ways(&mut a, &mut b).await });
        let many: Vec<u8> = (0..251).cycle().take(9_000_000).collect();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let sent = many.clone();
        let asking = tokio::spawn(async move {
            to_client.write_all(&sent).await.unwrap();
            for byte in 0..100 {
                to_client.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            to_client.write_all(&sent).await.unwrap();
        });
        let mut heard = vec![0; 2 * many.len() + 100];
        from_server.read_exact(&mut heard).await.unwrap();
        asking.await.unwrap();
        assert_eq!(from_server.read(&mut [0]).await.unwrap(), 0);
        assert!(heard[..many.len()] == many && heard[many.len() + 100..] == many);
        assert!(heard[many.len()..][..100].iter().copied().eq(0..100));
        // The other half is still open.
        let answering = tokio::spawn(async move { to_server.write_all(&many).await.unwrap() });
        let mut answer = Vec::new();
        from_client.read_to_end(&mut answer).await.unwrap();
        answering.await.unwrap();
        assert_eq!((answer.len(), passing.await.unwrap().unwrap()), (9_000_000, (18_000_100, 9_000_000)));
    }
}
