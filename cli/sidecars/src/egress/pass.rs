//! Passes bytes between two connections, both ways, until both have ended.
//!
//! An idle pair has no buffer of its own: bytes are read into one that all connections of the thread share. Only
//! what the other side does not take at once is kept, at most [`SCRATCH`] bytes for each direction.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are read at once. With 2,048 connections to somebody who takes nothing, 64 MiB are kept.
const SCRATCH: usize = 32 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Passes bytes until both sides have sent everything, and returns how many went from `a` to `b`, and back. When a
/// side closes its half, the other side's half is closed, too.
///
/// # Errors
/// Returns an error if either side breaks off.
pub async fn both_ways<A, B>(a: &mut A, b: &mut B) -> Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Direction::default(), Direction::default());
    poll_fn(|context| {
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
#[derive(Debug, Default)]
struct Direction {
    state: State,
    /// What was read and is not written yet.
    rest: Vec<u8>,
    needs_flush: bool,
    passed: u64,
}

impl Direction {
    fn poll<F, T>(&mut self, context: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
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
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(context, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..written);
        }
        self.rest = Vec::new();
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
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

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
}
