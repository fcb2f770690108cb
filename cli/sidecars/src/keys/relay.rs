//! Passes requests from the keeper to one server, and its responses back.

use super::passed::Passed;
use anyhow::Result;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// A request's body: the keeper's, as it comes, or one that has come.
pub type Asked = Either<Incoming, Full<Bytes>>;
/// A response's body: the server's, or a short text.
pub type Body = Either<Passed, Full<Bytes>>;

/// Where requests to the server go in.
#[derive(Clone)]
pub struct Sender {
    to_server: Arc<Mutex<SendRequest<Asked>>>,
    switched: Arc<AtomicBool>,
}

impl Sender {
    /// Sends a request, and waits for the head of its response.
    pub async fn send(&self, request: Request<Asked>) -> hyper::Result<Response<Incoming>> {
        let response = self.to_server.lock().await.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.switched.store(true, Relaxed);
        }
        Ok(response)
    }
}

/// Answers the keeper's requests with `answer`, until one side closes its connection.
pub async fn relay<S, A, F>(keeper: UnixStream, server: S, answer: A) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Sender) -> F,
    F: Future<Output = Result<Response<Body>>>,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(server)).await?;
    let sender = Sender { to_server: Arc::new(Mutex::new(sender)), switched: Arc::default() };
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(keeper), service_fn(|request| answer(request, sender.clone())))
        .with_upgrades();
    let (mut serving, mut connection) = (pin!(serving), pin!(connection.with_upgrades()));
    tokio::select! {
        _ = &mut serving => {}
        // The server has closed the connection, perhaps in the middle of a response. The bytes that have
        // arrived are still passed on.
        _ = &mut connection => {
            // Or it has switched to another protocol, and somebody else has the connection now.
            if !sender.switched.load(Relaxed) {
                serving.as_mut().graceful_shutdown();
            }
            let _ = serving.await;
        }
    }
    Ok(())
}

/// Returns a response of this process's own.
pub fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut refusal = Response::new(Either::Right(Full::new(text.into())));
    *refusal.status_mut() = status;
    refusal
}
