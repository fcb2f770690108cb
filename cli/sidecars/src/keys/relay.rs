//! Passes requests from the keeper to one server, and its responses back.

use super::hangup::hangup;
use super::passed::Passed;
use crate::http::{AtOnce, MAX_HEADERS};
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
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// How long what has arrived from a server that has closed its connection may take on its way to the keeper.
const REST: Duration = Duration::from_secs(600);
/// How long a server may take to read the rest of a request that it has answered already.
const READY: Duration = Duration::from_secs(10);

/// A body of a request or a response: as it comes, or one that has come.
pub type Whole = Either<Incoming, Full<Bytes>>;
/// A response's body: the server's, or a short text.
pub type Body = Either<Passed<Whole>, Full<Bytes>>;

/// Where requests to the server go in.
#[derive(Clone)]
pub struct Sender {
    to_server: Arc<Mutex<SendRequest<Whole>>>,
    switched: Arc<AtomicBool>,
}

impl Sender {
    /// Sends a request, and waits for the head of its response.
    pub async fn send(&self, request: Request<Whole>) -> hyper::Result<Response<Incoming>> {
        let response = self.to_server.lock().await.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.switched.store(true, Relaxed);
        }
        Ok(response)
    }

    /// Waits until another request can be sent. Returns false if none can.
    pub async fn is_ready_again(&self) -> bool {
        let mut to_server = self.to_server.lock().await;
        tokio::time::timeout(READY, to_server.ready()).await.is_ok_and(|ready| ready.is_ok())
    }
}

/// Answers the keeper's requests with `answer`, until one side closes its connection.
pub async fn relay<S, A, F>(keeper: UnixStream, server: S, answer: A) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Sender) -> F,
    F: Future<Output = Result<Response<Body>>>,
{
    let hung_up = hangup(&keeper)?;
    let mut client = hyper::client::conn::http1::Builder::new();
    let shaken = client.max_headers(MAX_HEADERS).handshake(TokioIo::new(AtOnce(server))).await;
    let (sender, connection) = shaken?;
    let sender = Sender { to_server: Arc::new(Mutex::new(sender)), switched: Arc::default() };
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(keeper), service_fn(|request| answer(request, sender.clone())))
        .with_upgrades();
    let (mut serving, mut connection) = (pin!(serving), Box::pin(connection.with_upgrades()));
    let mut hung_up = pin!(hung_up);
    tokio::select! {
        biased;
        _ = &mut serving => return Ok(()),
        // Nobody waits for an answer any more, and the server may be slow to read the request.
        () = &mut hung_up => return Ok(()),
        _ = &mut connection => {}
    }
    // It still owns the request's body, which nobody would read, and the keeper would write it forever.
    drop(connection);
    // The server has closed the connection, perhaps in the middle of a response. The bytes that have arrived are still
    // passed on. Or it has switched to another protocol, and somebody else has the connection now.
    if !sender.switched.load(Relaxed) {
        serving.as_mut().graceful_shutdown();
    }
    tokio::select! {
        _ = &mut serving => {}
        () = &mut hung_up => {}
        () = tokio::time::sleep(REST) => {}
    }
    Ok(())
}

/// Returns a response of this process's own.
pub fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut refusal = Response::new(Either::Right(Full::new(text.into())));
    *refusal.status_mut() = status;
    refusal
}

/// Returns a response for a server that has given none.
pub fn broke_off(server: &str, error: &hyper::Error) -> Response<Body> {
    let why =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |why| format!("{error}: {why}"));
    refusal(StatusCode::BAD_GATEWAY, format!("bottle: {server} broke off: {why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n";

    fn relayed(room: usize) -> (UnixStream, DuplexStream, JoinHandle<Result<()>>) {
        let ((keeper, ours), (server, origin)) = (UnixStream::pair().unwrap(), duplex(room));
        let answer = |request: Request<Incoming>, sender: Sender| async move {
            let answer = sender.send(request.map(Either::Left)).await?;
            Ok(answer.map(|body| Either::Left(Passed::plain(Either::Left(body)))))
        };
        (keeper, origin, tokio::spawn(relay(ours, server, answer)))
    }

    #[tokio::test]
    async fn an_answer_before_the_body_was_read_ends_a_keeper_that_still_writes() {
        let (keeper, mut origin, relaying) = relayed(4096);
        let (mut from, mut to) = keeper.into_split();
        let writing = tokio::spawn(async move {
            to.write_all(HEAD).await?;
            to.write_all(&vec![0; 50_000_000]).await
        });
        origin.read_exact(&mut [0; 16]).await.unwrap();
        let answer = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlong";
        origin.write_all(answer).await.unwrap();
        drop(origin);
        let mut said = [0; 12];
        timeout(SOON, from.read_exact(&mut said)).await.unwrap().unwrap();
        assert_eq!(&said, b"HTTP/1.1 413");
        assert!(timeout(SOON, writing).await.unwrap().unwrap().is_err());
        timeout(SOON, relaying).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_keeper_that_hangs_up_ends_an_upload_that_the_server_does_not_read() {
        let (mut keeper, mut origin, relaying) = relayed(4096);
        keeper.write_all(HEAD).await.unwrap();
        assert!(timeout(Duration::from_millis(300), keeper.write_all(&vec![0; 5_000_000])).await.is_err());
        drop(keeper);
        timeout(SOON, relaying).await.unwrap().unwrap().unwrap();
        timeout(SOON, origin.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    }
}
