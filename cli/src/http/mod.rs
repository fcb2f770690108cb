//! Serving HTTP on a door: what the built-in sidecars share.

mod limited;

pub use limited::Limits;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use limited::{Bucket, Limited};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long a client may take to say what it wants.
const HEADER_LIMIT: Duration = Duration::from_secs(15);
/// The longest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// A listener that fails so often in a row is gone, as it is when its jail ends.
const FAILURES: u32 = 10;

/// How many clients are served at a time, and how fast.
#[derive(Clone, Debug)]
pub struct Room {
    limits: Limits,
    bucket: Arc<Bucket>,
    /// Those beyond it wait to be accepted; they harm nobody.
    seats: Arc<Semaphore>,
}

impl Room {
    /// One with these limits.
    pub fn new(limits: Limits) -> Self {
        let seats = Arc::new(Semaphore::new(limits.connections.into()));
        Self { limits, bucket: Bucket::new(limits.bytes_per_second), seats }
    }
}

/// Answers every request on a listener, until the listener fails.
pub async fn serve<A, F, B>(listener: TcpListener, room: &Room, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut failures = 0;
    while failures < FAILURES {
        let Ok(seat) = Arc::clone(&room.seats).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            failures += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        failures = 0;
        let _ = stream.set_nodelay(true);
        let stream = Limited::new(stream, &room.limits, Arc::clone(&room.bucket));
        let answer = answer.clone();
        tokio::spawn(async move {
            let _seat = seat;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .max_buf_size(MAX_HEAD)
                // A client may say all that it has to say and close its side: `printf | nc`.
                .half_close(true)
                .preserve_header_case(true)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = connection.with_upgrades().await;
        });
    }
}
