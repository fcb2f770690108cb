//! Requests that the proxy makes in the agent's name, with keys that the agent never has:
//! `GET /anthropic/v1/models`, on the door itself.

use super::dial::{Chooser, DialError, Dialer};
use super::open::{Dialled, Open};
use super::reply::{self, Body};
use super::{Proxy, plain};
use crate::defence::Defence;
use crate::keeper::audit;
use crate::keys::{self, Keys};
use bottle_core::egress::{Denial, Rules, authority};
use bottle_core::upstream::{
    CREDENTIALS, METHODS, NoRoute, Upstream, is_header_passed_on, is_method_passed_on,
};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
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
    pub fn new(
        list: Vec<Upstream>,
        rules: &Arc<RwLock<Rules>>,
        open: &Open<Chooser>,
        keys: Option<&Keys>,
    ) -> Self {
        let client = |upstream| {
            let dialer = Dialer::new(Arc::clone(rules), Chooser::Operator, open.clone());
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

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Dialled<UnixStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let origin = uri.authority().map_or("", |authority| authority.as_str());
            let (host, port) = authority(origin, HTTPS).map_err(|_| DialError::Denied(Denial::Unreadable))?;
            let (origin, listed) = this.dialer.dial(&host, port).await?.into_parts();
            // On the list stays what leads there from now on.
            Ok(TokioIo::new(listed.on(this.keys.connect(this.upstream, origin).await?)))
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
    let route = match keys::route(&upstreams.list, &target) {
        Ok(route) => route,
        Err(why) => return nowhere(proxy, &what, why),
    };
    if Defence::Methods.stands() && !is_method_passed_on(request.method().as_str()) {
        let why = format!("this method is not passed on; these are: {}", METHODS.join(", "));
        let mut answer = proxy.reject(&what, "method", StatusCode::METHOD_NOT_ALLOWED, &why);
        if let Ok(allow) = HeaderValue::from_str(&METHODS.join(", ")) {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        return answer;
    }
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
        return proxy.reject(&what, "path", StatusCode::BAD_REQUEST, "the path cannot be passed on");
    };
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    strip(request.headers_mut());
    request.headers_mut().insert(header::HOST, host);
    // The key is added where it is.
    match client.request(request).await {
        Ok(mut response) => {
            plain::strip_hop_by_hop(response.headers_mut());
            let (status, ms) = (response.status().as_u16(), audit::millis(since.elapsed()));
            let details = json!({ "request": what, "origin": origin.as_str(), "status": status, "ms": ms });
            proxy.log("upstream", "", upstream.path.as_str(), details);
            response.map(Either::Left)
        }
        Err(error) => proxy.no_answer(&what, origin.host(), &error),
    }
}

/// Removes what a guest has no say in: who asks, and what the request is about beside its path.
fn strip(headers: &mut HeaderMap) {
    plain::strip_hop_by_hop(headers);
    for name in CREDENTIALS {
        headers.remove(name);
    }
    if Defence::UpstreamHeaders.stands() {
        let steering: Vec<HeaderName> =
            headers.keys().filter(|name| !is_header_passed_on(name.as_str())).cloned().collect();
        for name in steering {
            headers.remove(name);
        }
    }
}

fn nowhere(proxy: &Proxy, what: &str, why: NoRoute) -> Response<Body> {
    proxy.log("refused", "path", "", json!({ "request": what, "why": why.to_string() }));
    match why {
        NoRoute::Path(_) => reply::text(StatusCode::BAD_REQUEST, format!("bottle: {why}")),
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
