//! The own process of the keys.

use super::passed::{Passed, Secrets};
use super::{Echoed, For, route, secrets};
use crate::confine::{self, Policy, trial};
use crate::defence::Defence;
use crate::out;
use crate::starter::{Said, wire};
use crate::state::Home;
use anyhow::{Context, Result, ensure};
use bottle_core::slug::Slug;
use bottle_core::upstream::{CREDENTIALS, Upstream, echo, is_method_passed_on};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

/// How long an origin may take to prove who it is.
const HANDSHAKE: Duration = Duration::from_secs(15);

type Body = Either<Passed, Full<Bytes>>;

/// What this process has: the upstreams, with their keys.
struct Held {
    upstreams: Vec<Upstream>,
    headers: Vec<HeaderMap>,
    /// Every key, without what stands before it in its header.
    keys: Secrets,
    tls: TlsConnector,
}

/// Finds the keys of a bottle, gives up everything else, and serves its keeper until that ends.
///
/// # Errors
/// Where a key is not to be had, which the keeper is told, too.
pub fn main(slug: &Slug, socket: OwnedFd) -> Result<()> {
    let plan = Home::find()?.bottle(slug).read_plan()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let held = runtime.block_on(Held::find(plan.upstreams)).and_then(|held| {
        if Defence::KeeperConfined.stands() {
            confine::this_process(&Policy::keys())?;
        }
        Ok(held)
    });
    let held = match held {
        Ok(held) => held,
        Err(error) => {
            wire::send(&socket, &Said::Failed(format!("{error:#}")), &[])?;
            return Err(error);
        }
    };
    trial::run("keys");
    wire::send(&socket, &Said::Done, &[])?;
    runtime.block_on(serve(Arc::new(held), socket))
}

impl Held {
    async fn find(upstreams: Vec<Upstream>) -> Result<Self> {
        let (mut headers, mut keys) = (Vec::new(), Zeroizing::new(Vec::new()));
        for upstream in &upstreams {
            let found = secrets::headers(upstream).await?;
            keys.extend(upstream.headers.iter().filter_map(|(name, secret)| {
                let value = found.get(name.as_str())?.as_bytes();
                Some(value.strip_prefix(secret.prefix.as_bytes()).unwrap_or(value).to_vec())
            }));
            headers.push(found);
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        ensure!(!roots.is_empty(), "this machine trusts no certificates: {:?}", found.errors);
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { upstreams, headers, keys: Arc::new(keys), tls: TlsConnector::from(Arc::new(tls)) })
    }
}

async fn serve(held: Arc<Held>, socket: OwnedFd) -> Result<()> {
    let keeper = Arc::new(socket.try_clone()?);
    let wanted = wire::Incoming::on(socket)?;
    while let Some((wanted, descriptors)) = wanted.next::<For>().await? {
        let (held, keeper) = (Arc::clone(&held), Arc::clone(&keeper));
        tokio::spawn(async move {
            if let Err(error) = connection(&held, &keeper, wanted.upstream, descriptors).await {
                out::note(format_args!("keys: {error:#}"));
            }
        });
    }
    Ok(())
}

async fn connection(
    held: &Arc<Held>,
    keeper: &Arc<OwnedFd>,
    index: usize,
    descriptors: Vec<OwnedFd>,
) -> Result<()> {
    let [http, origin] =
        <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| anyhow::anyhow!("no connection"))?;
    let (http, origin) = (std::os::unix::net::UnixStream::from(http), std::net::TcpStream::from(origin));
    http.set_nonblocking(true)?;
    origin.set_nonblocking(true)?;
    let (mut http, origin) = (UnixStream::from_std(http)?, TcpStream::from_std(origin)?);
    let upstream = held.upstreams.get(index).context("no such upstream")?;
    let name = ServerName::try_from(upstream.origin.host().as_str().to_owned())?;
    let shaken = tokio::time::timeout(HANDSHAKE, held.tls.connect(name, origin)).await;
    let tls = match shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(tls) => tls,
        Err(error) => {
            let why = error.to_string().replace('\n', " ");
            return Ok(http.write_all(format!("{why}\n").as_bytes()).await?);
        }
    };
    http.write_all(b"\n").await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
    let sender = Arc::new(Mutex::new(sender));
    let (held, keeper) = (Arc::clone(held), Arc::clone(keeper));
    let answer = service_fn(move |request| {
        answer(Arc::clone(&held), Arc::clone(&keeper), index, Arc::clone(&sender), request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(http), answer);
    let (mut serving, mut connection) = (pin!(serving), pin!(connection));
    tokio::select! {
        _ = &mut serving => {}
        // The origin has gone, perhaps in the middle of an answer: what came of it is still passed on.
        _ = &mut connection => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
    Ok(())
}

async fn answer(
    held: Arc<Held>,
    keeper: Arc<OwnedFd>,
    index: usize,
    sender: Arc<Mutex<SendRequest<Incoming>>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    // The query may carry what a log should not.
    let what = format!("{} {}", request.method(), request.uri().path());
    if let Err(error) = prepare(&held, index, &mut request) {
        out::note(format_args!("keys: refused: {error:#}"));
        return Ok(refusal(StatusCode::BAD_REQUEST, ""));
    }
    let answer = sender.lock().await.send_request(request).await?;
    Ok(without_keys(&held, keeper, what, answer))
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut refusal = Response::new(Either::Right(Full::from(text)));
    *refusal.status_mut() = status;
    refusal
}

/// An answer of an upstream's, and none where one of the keys is in it.
fn without_keys(
    held: &Held,
    keeper: Arc<OwnedFd>,
    request: String,
    mut response: Response<Incoming>,
) -> Response<Body> {
    if !Defence::KeyEcho.stands() {
        return response.map(|body| Either::Left(Passed::plain(body)));
    }
    // A session that the key opened is as good as the key; and a guest's cookies do not travel.
    response.headers_mut().remove(header::SET_COOKIE);
    // What an origin says beside the status is text of its choice, and nobody needs it.
    response.extensions_mut().remove::<ReasonPhrase>();
    let found = move || {
        // A keeper that does not listen has ended, or has enough of these to write down.
        let _ = wire::send(&*keeper, &Echoed { request }, &[]);
    };
    let said = |name: &HeaderName, value: &HeaderValue| {
        echo::has_in_any_case(&held.keys, name.as_str().as_bytes()) || echo::has(&held.keys, value.as_bytes())
    };
    if response.headers().iter().any(|(name, value)| said(name, value)) {
        found();
        return refusal(StatusCode::BAD_GATEWAY, "bottle: the answer had the upstream's key in it\n");
    }
    response.map(|body| Either::Left(Passed::guarded(body, Arc::clone(&held.keys), found)))
}

/// Makes a request one for the upstream, and gives it the key. What the keeper did already is done
/// once more: it may not be what it was.
fn prepare(held: &Held, index: usize, request: &mut Request<Incoming>) -> Result<()> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let route = route(&held.upstreams, &target)?;
    ensure!(route.index == index, "the path belongs to another upstream");
    let method = request.method();
    ensure!(!Defence::Methods.stands() || is_method_passed_on(method.as_str()), "{method} is not passed on");
    let upstream = held.upstreams.get(index).context("no such upstream")?;
    let whole: Uri = format!("{}{}", upstream.origin, route.rest).parse()?;
    let path = whole.path_and_query().context("a path")?.as_str().parse()?;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    for name in CREDENTIALS {
        headers.remove(name);
    }
    // In an answer that is packed nobody would see a key.
    if Defence::KeyEcho.stands() {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Nor where it comes in pieces, each asked for by itself.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    headers.insert(header::HOST, HeaderValue::from_str(&upstream.origin.authority())?);
    for (name, value) in held.headers.get(index).context("no such upstream")? {
        headers.insert(name, value.clone());
    }
    Ok(())
}
