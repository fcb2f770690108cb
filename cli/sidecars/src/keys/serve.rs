//! The process that holds the keys.

use super::passed::{Passed, Secrets};
use super::protocol::{Connect, KeyFound};
use super::route::route;
use super::secrets;
use anyhow::{Context, Result, ensure};
use bottle_core::slug::Slug;
use bottle_core::upstream::{CREDENTIALS, Upstream, echo, is_method_passed_on};
use bottle_host::confine::{self, Policy};
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::starter::{Said, wire};
use bottle_host::state::Home;
use bottle_host::trial;
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

/// How long an origin may take to prove its identity.
const HANDSHAKE: Duration = Duration::from_secs(15);

type Body = Either<Passed, Full<Bytes>>;

/// The upstreams and their keys.
struct KeyHolder {
    upstreams: Vec<Upstream>,
    headers: Vec<HeaderMap>,
    /// Every key, without its header's prefix.
    keys: Secrets,
    tls: TlsConnector,
}

/// Finds the keys of a bottle, gives up all other rights, and serves the bottle's keeper until the keeper
/// ends.
///
/// # Errors
/// Returns an error if a key is not available. The keeper is told, too.
pub fn main(slug: &Slug, socket: OwnedFd) -> Result<()> {
    let plan = Home::find()?.bottle(slug).read_plan()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let holder = runtime.block_on(KeyHolder::find(plan.upstreams)).and_then(|holder| {
        if Defence::KeeperConfined.stands() {
            confine::this_process(&Policy::keys())?;
        }
        Ok(holder)
    });
    let holder = match holder {
        Ok(holder) => holder,
        Err(error) => {
            wire::send(&socket, &Said::Failed(format!("{error:#}")), &[])?;
            return Err(error);
        }
    };
    trial::run("keys");
    wire::send(&socket, &Said::Done, &[])?;
    runtime.block_on(serve(Arc::new(holder), socket))
}

impl KeyHolder {
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

async fn serve(holder: Arc<KeyHolder>, socket: OwnedFd) -> Result<()> {
    let keeper = Arc::new(socket.try_clone()?);
    let wanted = wire::Incoming::on(socket)?;
    while let Some((wanted, descriptors)) = wanted.next::<Connect>().await? {
        let (holder, keeper) = (Arc::clone(&holder), Arc::clone(&keeper));
        tokio::spawn(async move {
            if let Err(error) = connection(&holder, &keeper, wanted.upstream, descriptors).await {
                out::note(format_args!("keys: {error:#}"));
            }
        });
    }
    Ok(())
}

async fn connection(
    holder: &Arc<KeyHolder>,
    keeper: &Arc<OwnedFd>,
    index: usize,
    descriptors: Vec<OwnedFd>,
) -> Result<()> {
    let [http, origin] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|_| anyhow::anyhow!("a request came without its two connections"))?;
    let (http, origin) = (std::os::unix::net::UnixStream::from(http), std::net::TcpStream::from(origin));
    http.set_nonblocking(true)?;
    origin.set_nonblocking(true)?;
    let (mut http, origin) = (UnixStream::from_std(http)?, TcpStream::from_std(origin)?);
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
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
    let sender = Arc::new(Mutex::new(sender));
    let (holder, keeper) = (Arc::clone(holder), Arc::clone(keeper));
    let answer = service_fn(move |request| {
        answer(Arc::clone(&holder), Arc::clone(&keeper), index, Arc::clone(&sender), request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(http), answer);
    let (mut serving, mut connection) = (pin!(serving), pin!(connection));
    tokio::select! {
        _ = &mut serving => {}
        // The origin has closed the connection, perhaps in the middle of a response. The bytes that have
        // arrived are still passed on.
        _ = &mut connection => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
    Ok(())
}

async fn answer(
    holder: Arc<KeyHolder>,
    keeper: Arc<OwnedFd>,
    index: usize,
    sender: Arc<Mutex<SendRequest<Incoming>>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    // The query may contain something that must not be logged.
    let what = format!("{} {}", request.method(), request.uri().path());
    if let Err(error) = prepare(&holder, index, &mut request) {
        out::note(format_args!("keys: refused: {error:#}"));
        return Ok(refusal(StatusCode::BAD_REQUEST, ""));
    }
    let answer = sender.lock().await.send_request(request).await?;
    Ok(without_keys(&holder, keeper, what, answer))
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut refusal = Response::new(Either::Right(Full::from(text)));
    *refusal.status_mut() = status;
    refusal
}

/// Returns a response that contains no key: one that does is replaced or cut off.
fn without_keys(
    holder: &KeyHolder,
    keeper: Arc<OwnedFd>,
    request: String,
    mut response: Response<Incoming>,
) -> Response<Body> {
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
    let said = |name: &HeaderName, value: &HeaderValue| {
        echo::has_in_any_case(&holder.keys, name.as_str().as_bytes())
            || echo::has(&holder.keys, value.as_bytes())
    };
    if response.headers().iter().any(|(name, value)| said(name, value)) {
        found();
        return refusal(StatusCode::BAD_GATEWAY, "bottle: the response contained the upstream's key\n");
    }
    response.map(|body| Either::Left(Passed::guarded(body, Arc::clone(&holder.keys), found)))
}

/// Rewrites a request for the upstream and adds the key. It repeats the keeper's checks, because the keeper
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
    let whole: Uri = format!("{}{}", upstream.origin, route.rest).parse()?;
    let path = whole.path_and_query().context("the upstream's address has no path")?.as_str().parse()?;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    for name in CREDENTIALS {
        headers.remove(name);
    }
    // A key in a compressed response would not be found.
    if Defence::KeyEcho.stands() {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Nor would a key that arrives in parts, each requested separately.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    headers.insert(header::HOST, HeaderValue::from_str(&upstream.origin.authority())?);
    for (name, value) in holder.headers.get(index).with_context(|| format!("there is no upstream {index}"))? {
        headers.insert(name, value.clone());
    }
    Ok(())
}
