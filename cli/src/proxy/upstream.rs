//! Requests that the proxy makes in the agent's name, with keys that the agent never has:
//! `GET /anthropic/v1/models`, on the door itself.

use super::dial::{Chooser, Dialer};
use super::reply::{self, Body};
use super::{Proxy, plain, secrets};
use crate::keeper::audit;
use anyhow::Result;
use bottle_core::egress::Rules;
use bottle_core::upstream::{CREDENTIALS, NoRoute, Upstream, route};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
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
    /// Where there are none, the host's certificates are not read.
    client: Option<Client<HttpsConnector<Dialer>, Incoming>>,
}

impl Upstreams {
    /// Finds the secrets, and the certificates that this host trusts.
    ///
    /// # Errors
    /// Where a secret is not to be had, or the host trusts nobody.
    pub async fn ready(list: Vec<Upstream>, rules: Arc<RwLock<Rules>>) -> Result<Self> {
        let mut headers = Vec::new();
        for upstream in &list {
            headers.push(secrets::headers(upstream).await?);
        }
        let client = if list.is_empty() { None } else { Some(client(rules)?) };
        Ok(Self { list, headers, client })
    }

    /// The paths that there are, for people.
    fn paths(&self) -> String {
        self.list.iter().map(|upstream| format!("\n  {}", upstream.path)).collect()
    }
}

fn client(rules: Arc<RwLock<Rules>>) -> Result<Client<HttpsConnector<Dialer>, Incoming>> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_only()
        .enable_http1()
        .wrap_connector(Dialer::new(rules, Chooser::Operator));
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
        return reply::text(StatusCode::BAD_REQUEST, "bottle: the path cannot be passed on");
    };
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    plain::strip_hop_by_hop(request.headers_mut());
    for name in CREDENTIALS {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert(header::HOST, host);
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
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
