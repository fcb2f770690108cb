//! Limits on clients' connections: how long one may be idle, and how fast all of a bottle's clients may be
//! together.

use crate::splice::{Pipe, Splice};
use bottle_core::specification::Limits;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A token bucket for the bytes of all of a bottle's connections.
#[derive(Debug)]
pub struct TokenBucket(Mutex<Tokens>);

#[derive(Debug)]
struct Tokens {
    rate: u64,
    left: u64,
    filled: Instant,
}

impl TokenBucket {
    /// Creates a bucket that fills at `rate` bytes per second and holds one second's worth. A rate of 0 means
    /// no limit.
    pub fn new(rate: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Tokens { rate, left: rate, filled: Instant::now() })))
    }

    fn is_unlimited(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rate == 0
    }

    /// Returns how many of `wanted` bytes may pass now, at least one, or how long to wait.
    fn available(&self, wanted: usize) -> std::result::Result<usize, Duration> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.rate == 0 {
            return Ok(wanted);
        }
        let now = Instant::now();
        let gained = now.duration_since(tokens.filled).as_micros() * u128::from(tokens.rate) / 1_000_000;
        if gained > 0 {
            tokens.left =
                tokens.rate.min(tokens.left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)));
            tokens.filled = now;
        }
        if tokens.left == 0 {
            return Err(Duration::from_millis(10)
                .max(Duration::from_secs(1) / u32::try_from(tokens.rate).unwrap_or(u32::MAX)));
        }
        Ok(wanted.min(usize::try_from(tokens.left).unwrap_or(usize::MAX)))
    }

    fn consume(&self, bytes: usize) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.left = tokens.left.saturating_sub(bytes as u64);
    }
}

/// A stream with limits.
#[derive(Debug)]
pub struct Limited<S> {
    stream: S,
    bucket: Arc<TokenBucket>,
    idle: Duration,
    /// Fires when the stream has been idle for too long.
    end: Pin<Box<Sleep>>,
    /// The pause until the bucket has bytes again.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> Limited<S> {
    /// Applies limits to a stream. Its bytes are taken from `bucket`.
    pub fn new(stream: S, limits: &Limits, bucket: Arc<TokenBucket>) -> Self {
        let idle = Duration::from_secs(limits.idle_seconds.into());
        Self { stream, bucket, idle, end: Box::pin(sleep(idle)), pause: None }
    }

    /// Limits only how long the stream may be idle.
    pub fn idle(stream: S, idle: Duration) -> Self {
        Self { stream, bucket: TokenBucket::new(0), idle, end: Box::pin(sleep(idle)), pause: None }
    }

    /// Waits until at least one of `wanted` bytes may pass, and returns how many may.
    fn poll_allowance(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match self.bucket.available(wanted) {
                Ok(bytes) => return Poll::Ready(bytes),
                Err(wait) => self.pause = Some(Box::pin(sleep(wait))),
            }
        }
    }

    fn passed(&mut self, bytes: usize) {
        self.bucket.consume(bytes);
        self.end.as_mut().reset(Instant::now() + self.idle);
    }

    /// Fails once the stream has been idle for too long.
    fn poll_idle<T>(&mut self, context: &mut Context<'_>) -> Poll<Result<T>> {
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let room = buffer.remaining();
        let allowed = ready!(self.poll_allowance(context, room));
        let before = buffer.filled().len();
        let polled = if allowed == room {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
            let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
            let read = part.filled().len();
            buffer.advance(read);
            polled
        };
        match polled {
            Poll::Ready(Ok(())) => {
                self.passed(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.poll_idle(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let allowed = ready!(self.poll_allowance(context, bytes.len()));
        match Pin::new(&mut self.stream).poll_write(context, &bytes[..allowed]) {
            Poll::Ready(Ok(written)) => {
                self.passed(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.poll_idle(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let whole = parts.iter().map(|part| part.len()).sum();
        if ready!(self.poll_allowance(context, whole)) < whole {
            let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
            return self.poll_write(context, first);
        }
        match Pin::new(&mut self.stream).poll_write_vectored(context, parts) {
            Poll::Ready(Ok(written)) => {
                self.passed(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.poll_idle(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
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

impl<S: Connection> Connection for Limited<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl<S: Splice> Splice for Limited<S> {
    fn splices(&self) -> bool {
        // Where bytes are rationed, they are read a few at a time.
        self.bucket.is_unlimited() && self.stream.splices()
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize>> {
        match self.stream.poll_fill(context, pipe) {
            Poll::Ready(Ok(came)) => {
                self.passed(came);
                Poll::Ready(Ok(came))
            }
            Poll::Pending => self.poll_idle(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    fn poll_empty(&mut self, context: &mut Context<'_>, pipe: &Pipe, len: usize) -> Poll<Result<usize>> {
        match self.stream.poll_empty(context, pipe, len) {
            Poll::Ready(Ok(went)) => {
                self.passed(went);
                Poll::Ready(Ok(went))
            }
            Poll::Pending => self.poll_idle(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn bytes_pass_no_faster_than_the_limit() {
        on_a_paused_clock(async {
            let limits = Limits { bytes_per_second: 1000, ..Limits::default() };
            let bucket = TokenBucket::new(limits.bytes_per_second);
            let (near, mut far) = duplex(1 << 16);
            let mut near = Limited::new(near, &limits, Arc::clone(&bucket));
            let since = Instant::now();
            tokio::spawn(async move {
                near.write_all(&[7; 3000]).await.unwrap();
                // Both directions draw from one bucket.
                near.read_exact(&mut [0; 2000]).await.unwrap();
            });
            let mut all = [0; 3000];
            far.read_exact(&mut all).await.unwrap();
            assert_eq!(all, [7; 3000]);
            let took = since.elapsed().as_millis();
            assert!((1990..2100).contains(&took), "{took}");
            far.write_all(&[8; 2000]).await.unwrap();
            assert_eq!(far.read(&mut all).await.unwrap(), 0);
            let took = since.elapsed().as_millis();
            assert!((3990..4200).contains(&took), "{took}");
        });
    }

    #[test]
    fn without_a_limit_bytes_pass_at_once() {
        on_a_paused_clock(async {
            let (near, mut far) = duplex(1 << 20);
            let mut near = Limited::new(near, &Limits::default(), TokenBucket::new(0));
            let since = Instant::now();
            near.write_all(&[7; 1 << 19]).await.unwrap();
            far.read_exact(&mut vec![0; 1 << 19]).await.unwrap();
            assert_eq!(since.elapsed(), Duration::ZERO);
        });
    }

    #[test]
    fn an_idle_connection_ends_and_a_busy_one_goes_on() {
        on_a_paused_clock(async {
            let limits = Limits { idle_seconds: 10, ..Limits::default() };
            let (near, mut far) = duplex(64);
            let mut near = Limited::new(near, &limits, TokenBucket::new(0));
            for _ in 0..5 {
                tokio::time::advance(Duration::from_secs(9)).await;
                far.write_all(b"x").await.unwrap();
                near.read_exact(&mut [0]).await.unwrap();
            }
            let since = Instant::now();
            let ended = near.read(&mut [0]).await.unwrap_err();
            assert_eq!(ended.kind(), ErrorKind::TimedOut);
            assert_eq!(since.elapsed().as_secs(), 10);
        });
    }
}
