//! Serves HTTP on a door, for all built-in sidecars.

mod at_once;
mod client;
mod descriptors;
mod limited;
mod listener;

pub use at_once::AtOnce;
use bottle_core::specification::Limits;
use bottle_host::audit::Audit;
use bottle_host::defence::Defence;
pub use client::Stream;
use client::{GivenUp, Socket, Watched};
pub use descriptors::raise as raise_descriptors;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
pub use limited::Limited;
use limited::TokenBucket;
pub use listener::Listener;
use serde_json::json;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a client may take to send the head of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(15);
/// The longest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers of a request or a response.
pub const MAX_HEADERS: usize = 512;
/// How many times in a row a listener may fail before it counts as gone, as it is when its jail ends.
const FAILURES: u32 = 10;
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// A client's connection, as it is after an upgrade.
pub type Client = Limited<Socket>;

/// Who writes a sidecar's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The sidecar writes them all. A response with an error status is a refusal, and is logged here.
    Own,
    /// The sidecar also passes on the responses of others, and logs its own refusals.
    Passed,
}

/// The HTTP server of one sidecar: its limits, and where it logs the requests that it refuses.
#[derive(Clone)]
pub struct Server {
    limits: Limits,
    audit: Audit,
    part: &'static str,
    answers: Answers,
    bucket: Arc<TokenBucket>,
    /// Connections beyond this number wait to be accepted, and cost nothing until then.
    permits: Arc<Semaphore>,
}

impl Server {
    /// Creates a server with these limits. `part` is the sidecar's name in the log.
    pub fn new(limits: Limits, audit: Audit, part: &'static str, answers: Answers) -> Self {
        let permits = Arc::new(Semaphore::new(descriptors::enough_for(limits.connections)));
        Self { limits, audit, part, answers, bucket: TokenBucket::new(limits.bytes_per_second), permits }
    }

    /// Logs a refused request.
    fn refused(&self, request: &str, status: StatusCode) {
        let ours = self.answers == Answers::Own && Defence::RefusalsLogged.stands();
        if ours && (status.is_client_error() || status.is_server_error()) {
            let details = json!({ "request": request, "status": status.as_u16() });
            self.audit.caused(self.part, "refused", "request", status.as_str(), details);
        }
    }

    /// Logs a connection that was closed because it is not HTTP, or because it was too slow.
    fn broken(&self, error: &hyper::Error, asked: bool) {
        let reason = if error.is_parse() {
            "not-http"
        } else if error.is_timeout() && !asked {
            "slow"
        } else {
            // A client that goes away, or has nothing more to ask, was not refused.
            return;
        };
        if Defence::RefusalsLogged.stands() {
            self.audit.caused(self.part, "refused", reason, "", json!({ "why": error.to_string() }));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("part", &self.part)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Responds to every request on a listener, until the listener fails.
pub async fn serve<A, F, B>(mut listener: Listener, server: &Server, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut failures = 0;
    while failures < FAILURES {
        let Ok(permit) = Arc::clone(&server.permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // A machine that lacks something now may have it again later.
                failures += u32::from(!descriptors::is_lack(&error));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        failures = 0;
        let client = Socket::new(stream);
        let stream = Limited::new(client.clone(), &server.limits, Arc::clone(&server.bucket));
        // Work that a sidecar does itself, like accepting a push, is completed even if the client gives up.
        let client = (server.answers == Answers::Passed).then_some(client);
        let (answer, server) = (answer.clone(), server.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let (for_request, asked) = (server.clone(), Arc::new(AtomicBool::new(false)));
            let set_asked = Arc::clone(&asked);
            let served = service_fn(move |request: Request<Incoming>| {
                set_asked.store(true, Relaxed);
                let what = format!("{} {}", request.method(), request.uri().path());
                let (server, answered) = (for_request.clone(), answer(request));
                let (waits, client) = (given_up(client.clone()), client.clone());
                async move {
                    let Ok(response) = tokio::select! {
                        biased;
                        answered = answered => answered,
                        () = waits => return Err(GivenUp),
                    };
                    server.refused(&what, response.status());
                    Ok(response.map(|body| Watched::new(body, client)))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                // A client may send everything and close its side: `printf | nc`.
                .half_close(true)
                .preserve_header_case(true)
                .serve_connection(TokioIo::new(stream), served);
            if let Err(error) = connection.with_upgrades().await {
                server.broken(&error, asked.load(Relaxed));
            }
        });
    }
}

/// Waits until a watched client gives up. Without a client, it waits forever.
async fn given_up(client: Option<Socket>) {
    match client {
        Some(client) => client.given_up().await,
        None => std::future::pending().await,
    }
}
