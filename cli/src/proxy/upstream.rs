//! Requests that the proxy makes in the agent's name, with keys that the agent never has:
//! `GET /anthropic/v1/models`, on the door itself.

use super::dial::{Chooser, DialError, Dialer};
use super::reply::{self, Body};
use super::{Proxy, plain};
use crate::keeper::audit;
use crate::keys::Keys;
use bottle_core::egress::{Denial, Rules, authority};
use bottle_core::upstream::{CREDENTIALS, NoRoute, Upstream, route};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::net::UnixStream;

const HTTPS: u16 = 443;

/// The upstreams of a bottle, ready to be asked.
pub struct Upstreams {
    list: Vec<Upstream>,
    /// One for each of them, in the same order: a connection belongs to one upstream and its key.
    clients: Vec<Client<Connector, Incoming>>,
}

impl Upstreams {
    /// The upstreams of a plan. Without keys there are none.
    pub fn new(list: Vec<Upstream>, rules: &Arc<RwLock<Rules>>, keys: Option<&Keys>) -> Self {
        let client = |upstream| {
            let dialer = Dialer::new(Arc::clone(rules), Chooser::Operator);
            let mut client = Client::builder(TokioExecutor::new());
            client.pool_timer(TokioTimer::new()).pool_max_idle_per_host(super::IDLE_PER_HOST);
            Some(client.build(Connector { upstream, dialer, keys: keys?.clone() }))
        };
        let clients = (0..list.len()).filter_map(client).collect();
        Self { list, clients }
    }

    /// The paths that there are, for people.
    fn paths(&self) -> String {
        self.list.iter().map(|upstream| format!("\n  {}", upstream.path)).collect()
    }
}

/// Dials an upstream, and hands the connection to the process that has its key.
#[derive(Clone)]
struct Connector {
    upstream: usize,
    dialer: Dialer,
    keys: Keys,
}

/// What a client of hyper's reads and writes.
struct Connection(TokioIo<UnixStream>);

impl hyper_util::client::legacy::connect::Connection for Connection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Connection;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let origin = uri.authority().map_or("", |authority| authority.as_str());
            let (host, port) = authority(origin, HTTPS).map_err(|_| DialError::Denied(Denial::Unreadable))?;
            let dialled = this.dialer.dial(&host, port).await?;
            Ok(Connection(TokioIo::new(this.keys.connect(this.upstream, dialled).await?)))
        })
    }
}

/// Answers a request for a path of the door itself.
pub async fn ask(proxy: &Arc<Proxy>, mut request: Request<Incoming>) -> Response<Body> {
    let since = Instant::now();
    let upstreams = &proxy.upstreams;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    // The query may carry what a log should not.
    let what = format!("{} {}", request.method(), request.uri().path());
    let route = match route(&upstreams.list, &target) {
        Ok(route) => route,
        Err(why) => return nowhere(proxy, &what, why),
    };
    let (Some(upstream), Some(client)) =
        (upstreams.list.get(route.index), upstreams.clients.get(route.index))
    else {
        return nowhere(proxy, &what, NoRoute::Unknown);
    };
    let origin = &upstream.origin;
    // A connection that is open already is not dialled again, so the rules are asked here too.
    if let Err(denial) = proxy.dialer.read(|rules| rules.check_closed(origin.host())) {
        return proxy.refuse(&what, &denial);
    }
    let (Ok(uri), Ok(host)) = (
        format!("http://{}{target}", origin.authority()).parse::<Uri>(),
        HeaderValue::from_str(&origin.authority()),
    ) else {
        return reply::text(StatusCode::BAD_REQUEST, "bottle: the path cannot be passed on");
    };
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    plain::strip_hop_by_hop(request.headers_mut());
    for name in CREDENTIALS {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert(header::HOST, host);
    // The key is added where it is.
    match client.request(request).await {
        Ok(mut response) => {
            plain::strip_hop_by_hop(response.headers_mut());
            let (status, ms) = (response.status().as_u16(), audit::millis(since.elapsed()));
            proxy.log(
                "upstream",
                json!({ "request": what, "origin": origin.as_str(), "status": status, "ms": ms }),
            );
            response.map(Either::Left)
        }
        Err(error) => proxy.no_answer(&what, origin.host(), &error),
    }
}

fn nowhere(proxy: &Proxy, what: &str, why: NoRoute) -> Response<Body> {
    proxy.log("refused", json!({ "request": what, "reason": "path", "why": why.to_string() }));
    match why {
        NoRoute::Traversal => reply::text(StatusCode::BAD_REQUEST, format!("bottle: {why}")),
        NoRoute::Unknown => {
            let mut text =
                "bottle: this is the egress proxy; ask it for http://HOST/PATH or CONNECT HOST:443"
                    .to_owned();
            if !proxy.upstreams.list.is_empty() {
                text.push_str("\nits own paths are:");
                text.push_str(&proxy.upstreams.paths());
            }
            reply::text(StatusCode::NOT_FOUND, text)
        }
    }
}
