//! Serving HTTP on a door: what the built-in sidecars share.

mod limited;

use bottle_core::specification::Limits;
use bottle_host::audit::Audit;
use bottle_host::defence::Defence;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use limited::{Bucket, Limited};
use serde_json::json;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long a client may take to say what it wants.
const HEADER_LIMIT: Duration = Duration::from_secs(15);
/// The longest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// A listener that fails so often in a row is gone, as it is when its jail ends.
const FAILURES: u32 = 10;

/// Whose answers a sidecar gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Its own: one with an error's status is a refusal, and written down here.
    Own,
    /// Others' too: it writes down itself what it refuses.
    Passed,
}

/// How many clients are served at a time, and how fast; and where it is written down that one was
/// refused.
#[derive(Clone)]
pub struct Room {
    limits: Limits,
    audit: Audit,
    part: &'static str,
    answers: Answers,
    bucket: Arc<Bucket>,
    /// Those beyond it wait to be accepted; they harm nobody.
    seats: Arc<Semaphore>,
}

impl Room {
    /// One with these limits. The log calls the sidecar `part`.
    pub fn new(limits: Limits, audit: Audit, part: &'static str, answers: Answers) -> Self {
        let seats = Arc::new(Semaphore::new(limits.connections.into()));
        Self { limits, audit, part, answers, bucket: Bucket::new(limits.bytes_per_second), seats }
    }

    /// Writes down a request that was refused.
    fn refused(&self, request: &str, status: StatusCode) {
        let ours = self.answers == Answers::Own && Defence::RefusalsLogged.stands();
        if ours && (status.is_client_error() || status.is_server_error()) {
            let details = json!({ "request": request, "status": status.as_u16() });
            self.audit.caused(self.part, "refused", "request", status.as_str(), details);
        }
    }

    /// Writes down a connection that was closed because it is not HTTP, or takes too long to be.
    fn broken(&self, error: &hyper::Error, asked: bool) {
        let reason = if error.is_parse() {
            "not-http"
        } else if error.is_timeout() && !asked {
            "slow"
        } else {
            // A client that goes away, or has nothing more to ask, is none that was refused.
            return;
        };
        if Defence::RefusalsLogged.stands() {
            self.audit.caused(self.part, "refused", reason, "", json!({ "why": error.to_string() }));
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("part", &self.part).field("limits", &self.limits).finish_non_exhaustive()
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
        let (answer, room) = (answer.clone(), room.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let (of_request, asked) = (room.clone(), Arc::new(AtomicBool::new(false)));
            let has_asked = Arc::clone(&asked);
            let served = service_fn(move |request: Request<Incoming>| {
                has_asked.store(true, Relaxed);
                let what = format!("{} {}", request.method(), request.uri().path());
                let (room, answered) = (of_request.clone(), answer(request));
                async move {
                    let answered = answered.await;
                    if let Ok(response) = &answered {
                        room.refused(&what, response.status());
                    }
                    answered
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .max_buf_size(MAX_HEAD)
                // A client may say all that it has to say and close its side: `printf | nc`.
                .half_close(true)
                .preserve_header_case(true)
                .serve_connection(TokioIo::new(stream), served);
            if let Err(error) = connection.with_upgrades().await {
                room.broken(&error, asked.load(Relaxed));
            }
        });
    }
}
