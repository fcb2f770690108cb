//! Requests to upstreams, with their keys.

use super::holder::KeyHolder;
use super::passed::{Passed, Secrets};
use super::protocol::KeyFound;
use super::relay::{Body, Sender, Whole, broke_off, refusal, relay};
use super::route::route;
use super::switched;
use anyhow::{Context, Result, ensure};
use bottle_core::upstream::{CREDENTIALS, echo, is_method_passed_on};
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::starter::wire;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::pki_types::ServerName;

/// The longest body of a request that is made again with another key, in bytes.
const LONGEST_AGAIN: usize = 8 << 20;
/// The longest body of a refusal that is read before the request is made again, in bytes.
const LONGEST_REFUSAL: usize = 64 << 10;
/// How long an origin may take to prove its identity.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Serves the keeper's requests to one upstream, on a new connection to its origin.
pub async fn serve(
    holder: &Arc<KeyHolder>,
    keeper: &Arc<OwnedFd>,
    index: usize,
    mut http: UnixStream,
    origin: TcpStream,
) -> Result<()> {
    let upstream = holder.upstreams.get(index).with_context(|| format!("there is no upstream {index}"))?;
    let name = ServerName::try_from(upstream.origin.host().as_str().to_owned())?;
    let shaken = tokio::time::timeout(HANDSHAKE, holder.tls.connect(name, origin)).await;
    let tls = match shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(tls) => tls,
        Err(error) => {
            let why = error.to_string().replace('\n', " ");
            return Ok(http.write_all(format!("{why}\n").as_bytes()).await?);
        }
    };
    http.write_all(b"\n").await?;
    let (holder, keeper) = (Arc::clone(holder), Arc::clone(keeper));
    let answer = |request, sender| answer(Arc::clone(&holder), Arc::clone(&keeper), index, sender, request);
    relay(http, tls, answer).await
}

async fn answer(
    holder: Arc<KeyHolder>,
    keeper: Arc<OwnedFd>,
    index: usize,
    sender: Sender,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    // The query may contain something that must not be logged.
    let what = format!("{} {}", request.method(), request.uri().path());
    if let Err(error) = prepare(&holder, index, &mut request) {
        out::note(format_args!("keys: refused: {error:#}"));
        return Ok(refusal(StatusCode::BAD_REQUEST, ""));
    }
    let agent = hyper::upgrade::on(&mut request);
    let (again, mut request) = again(&holder, index, request).await?;
    let current = holder.headers(index).await?;
    current.headers.put(request.headers_mut());
    let origin =
        || holder.upstreams.get(index).map_or("the origin", |upstream| upstream.origin.host().as_str());
    let answer = match sender.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Ok(broke_off(origin(), &error)),
    };
    let mut answer = answer.map(Either::Left);
    if answer.status() == StatusCode::UNAUTHORIZED && holder.is_renewed(index) {
        // Whether or not this request can be made again, the next one has another key.
        let others = holder.others(index, &current).await;
        if let (Some(others), Some(mut again)) = (others, again.filter(|_| !says_close(&answer))) {
            // The connection is free once the answer has been read.
            let (head, body) = answer.into_parts();
            let Ok(read) = Limited::new(body, LONGEST_REFUSAL).collect().await else {
                return Ok(refusal(StatusCode::UNAUTHORIZED, ""));
            };
            answer = Response::from_parts(head, Either::Right(Full::new(read.to_bytes())));
            if sender.is_ready_again().await {
                others.headers.put(again.headers_mut());
                answer = match sender.send(again).await {
                    Ok(answer) => answer.map(Either::Left),
                    Err(error) => return Ok(broke_off(origin(), &error)),
                };
            }
        }
    }
    Ok(without_keys(&holder, keeper, what, agent, answer))
}

/// Returns whether a server closes its connection after an answer.
fn says_close<B>(answer: &Response<B>) -> bool {
    let said = answer.headers().get_all(header::CONNECTION);
    let mut words = said.iter().filter_map(|said| said.to_str().ok()).flat_map(|said| said.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// Returns a request, and the same again if it can be made twice: its body is short, there is room for it, and it has come.
/// Others are passed on as they come.
async fn again(
    holder: &KeyHolder,
    index: usize,
    request: Request<Incoming>,
) -> Result<(Option<Request<Whole>>, Request<Whole>)> {
    let size = request.body().size_hint().upper().and_then(|size| usize::try_from(size).ok());
    let may = holder.is_renewed(index) && !request.headers().contains_key(header::UPGRADE);
    let room = size.filter(|size| may && *size <= LONGEST_AGAIN).and_then(|size| holder.kept.take(size));
    let Some(mut room) = room else { return Ok((None, request.map(Either::Left))) };
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await.transpose()? {
        ensure!(room.add(&frame.into_data().unwrap_or_default()), "the body is longer than was said");
    }
    let body = room.into_bytes();
    let mut again = Request::new(Either::Right(Full::new(body.clone())));
    *again.method_mut() = head.method.clone();
    *again.uri_mut() = head.uri.clone();
    *again.headers_mut() = head.headers.clone();
    Ok((Some(again), Request::from_parts(head, Either::Right(Full::new(body)))))
}

/// Returns a response that contains no key: one that does is replaced or cut off.
fn without_keys(
    holder: &KeyHolder,
    keeper: Arc<OwnedFd>,
    request: String,
    agent: OnUpgrade,
    mut response: Response<Whole>,
) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let keys = if Defence::KeyEcho.stands() { holder.keys() } else { Secrets::default() };
        let found = move || _ = wire::send(&*keeper, &KeyFound { request }, &[]);
        switched::pass(agent, hyper::upgrade::on(&mut response), keys, found);
        return response.map(|_| Either::Right(Full::default()));
    }
    if !Defence::KeyEcho.stands() {
        return response.map(|body| Either::Left(Passed::plain(body)));
    }
    // A session that was opened with the key is as good as the key, and a guest's cookies are not sent
    // anyway.
    response.headers_mut().remove(header::SET_COOKIE);
    // The origin chooses the text of the reason phrase, and nobody needs it.
    response.extensions_mut().remove::<ReasonPhrase>();
    let found = move || {
        // A keeper that does not listen has ended, or has enough of these to log.
        let _ = wire::send(&*keeper, &KeyFound { request }, &[]);
    };
    let keys = holder.keys();
    let said = |name: &HeaderName, value: &HeaderValue| {
        echo::has_in_any_case(&keys, name.as_str().as_bytes()) || echo::has(&keys, value.as_bytes())
    };
    if response.headers().iter().any(|(name, value)| said(name, value)) {
        found();
        return refusal(StatusCode::BAD_GATEWAY, "bottle: the response contained the upstream's key\n");
    }
    response.map(|body| Either::Left(Passed::guarded(body, holder.keys(), found)))
}

/// Rewrites a request for the upstream. It repeats the keeper's checks, because the keeper
/// may have been taken over.
fn prepare(holder: &KeyHolder, index: usize, request: &mut Request<Incoming>) -> Result<()> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let route = route(&holder.upstreams, &target)?;
    ensure!(route.index == index, "the path belongs to another upstream");
    let method = request.method();
    ensure!(
        !Defence::Methods.stands() || is_method_passed_on(method.as_str()),
        "the method {method} is not allowed"
    );
    let upstream = holder.upstreams.get(index).with_context(|| format!("there is no upstream {index}"))?;
    upstream.check(method.as_str(), route.rest)?;
    let whole: Uri = format!("{}{}", upstream.origin, route.rest).parse()?;
    let path = whole.path_and_query().context("the upstream's address has no path")?.as_str().parse()?;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    for name in CREDENTIALS {
        headers.remove(name);
    }
    // A key in a compressed response would not be found.
    if Defence::KeyEcho.stands() {
        headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Nor would a key that arrives in parts, each requested separately.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    headers.insert(header::HOST, HeaderValue::from_str(&upstream.origin.authority())?);
    Ok(())
}
