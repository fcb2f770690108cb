//! Requests that the proxy makes in the agent's name, with keys that the agent never has:
//! `GET /anthropic/v1/models`, on the door itself.

use super::dial::{Chooser, Dialer};
use super::open::Open;
use super::passed::{Passed, Secrets};
use super::reply::{self, Body};
use super::{Proxy, plain, secrets};
use crate::defence::Defence;
use crate::keeper::audit;
use anyhow::Result;
use bottle_core::egress::Rules;
use bottle_core::upstream::{CREDENTIALS, METHODS, NoRoute, Route, Upstream, echo, is_passed_on, travels};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::json;
use std::sync::{Arc, RwLock};
use std::time::Instant;

/// The upstreams of a bottle, ready to be asked.
pub struct Upstreams {
    list: Vec<Upstream>,
    /// What each of them is given, in the same order.
    headers: Vec<HeaderMap>,
    /// Every key, without what stands before it in its header.
    keys: Secrets,
    /// Where there are none, the host's certificates are not read.
    client: Option<Client<HttpsConnector<Dialer>, Incoming>>,
}

impl Upstreams {
    /// Finds the secrets, and the certificates that this host trusts.
    ///
    /// # Errors
    /// Where a secret is not to be had, or the host trusts nobody.
    pub async fn ready(list: Vec<Upstream>, rules: Arc<RwLock<Rules>>, open: Open<Chooser>) -> Result<Self> {
        let (mut headers, mut keys) = (Vec::new(), Vec::new());
        for upstream in &list {
            let found = secrets::headers(upstream).await?;
            keys.extend(upstream.headers.iter().filter_map(|(name, secret)| {
                let value = found.get(name.as_str())?.as_bytes();
                Some(value.strip_prefix(secret.prefix.as_bytes()).unwrap_or(value).to_vec())
            }));
            headers.push(found);
        }
        let client = if list.is_empty() { None } else { Some(client(rules, open)?) };
        Ok(Self { list, headers, keys: keys.into(), client })
    }

    /// The paths that there are, for people.
    fn paths(&self) -> String {
        self.list.iter().map(|upstream| format!("\n  {}", upstream.path)).collect()
    }
}

fn client(
    rules: Arc<RwLock<Rules>>,
    open: Open<Chooser>,
) -> Result<Client<HttpsConnector<Dialer>, Incoming>> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_only()
        .enable_http1()
        .wrap_connector(Dialer::new(rules, Chooser::Operator, open));
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_max_idle_per_host(super::IDLE_PER_HOST);
    Ok(client.build(connector))
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
    if Defence::Methods.stands() && !is_passed_on(request.method().as_str()) {
        let why = format!("this method is not passed on; these are: {}", METHODS.join(", "));
        let mut answer = proxy.reject(&what, "method", StatusCode::METHOD_NOT_ALLOWED, &why);
        if let Ok(allow) = HeaderValue::from_str(&METHODS.join(", ")) {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        return answer;
    }
    let (Some(upstream), Some(headers), Some(client)) =
        (upstreams.list.get(route.index), upstreams.headers.get(route.index), &upstreams.client)
    else {
        return nowhere(proxy, &what, NoRoute::Unknown);
    };
    let origin = &upstream.origin;
    // A connection that is open already is not dialled again, so the rules are asked here too.
    if let Err(denial) = proxy.dialer.read(|rules| rules.check_closed(origin.host())) {
        return proxy.refuse(&what, &denial);
    }
    let (Ok(uri), Ok(host)) =
        (format!("{origin}{}", route.rest).parse::<Uri>(), HeaderValue::from_str(&origin.authority()))
    else {
        return proxy.reject(&what, "path", StatusCode::BAD_REQUEST, "the path cannot be passed on");
    };
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    strip(request.headers_mut());
    // The bottle's own come last: nothing that the guest sent takes them away or stands beside them.
    request.headers_mut().insert(header::HOST, host);
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    match client.request(request).await {
        Ok(mut response) => {
            plain::strip_hop_by_hop(response.headers_mut());
            let (status, ms) = (response.status().as_u16(), audit::millis(since.elapsed()));
            let details = json!({ "request": what, "origin": origin.as_str(), "status": status, "ms": ms });
            proxy.log("upstream", "", upstream.path.as_str(), details);
            without_keys(proxy, what, response)
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
            headers.keys().filter(|name| !travels(name.as_str())).cloned().collect();
        for name in steering {
            headers.remove(name);
        }
    }
    // In an answer that is packed nobody would see a key.
    if Defence::KeyEcho.stands() {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// An answer of an upstream's, and none where one of the keys is in it.
fn without_keys(proxy: &Arc<Proxy>, what: String, mut response: Response<Incoming>) -> Response<Body> {
    if !Defence::KeyEcho.stands() {
        return response.map(|body| Either::Left(Passed::plain(body)));
    }
    // A session that the key opened is as good as the key; and a guest's cookies do not travel.
    response.headers_mut().remove(header::SET_COOKIE);
    let keys = &proxy.upstreams.keys;
    let why = "the answer had the upstream's key in it";
    if response.headers().values().any(|value| echo::has(keys, value.as_bytes())) {
        return proxy.reject(&what, "key", StatusCode::BAD_GATEWAY, why);
    }
    let (keys, proxy) = (Arc::clone(keys), Arc::clone(proxy));
    let found = move || proxy.log("refused", "key", "", json!({ "request": what, "why": why }));
    response.map(|body| Either::Left(Passed::guarded(body, keys, found)))
}

/// Finds the upstream that is meant. In a debug build the path below it may go unchecked.
fn route<'a>(list: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    if Defence::UpstreamPath.stands() {
        bottle_core::upstream::route(list, target)
    } else {
        bottle_core::upstream::find(list, target)
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
