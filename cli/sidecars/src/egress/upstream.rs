//! Requests that the egress proxy makes on the agent's behalf, with keys that the agent never has:
//! `GET /anthropic/v1/models`, on the door itself.

use super::headers::{strip_for_upstream, strip_hop_by_hop};
use super::proxy::EgressProxy;
use super::reply::{self, Body};
use super::websocket;
use crate::keys;
use bottle_core::upstream::{METHODS, NoRoute, is_method_passed_on};
use bottle_host::audit;
use bottle_host::defence::Defence;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// Responds to a request for one of the door's own paths.
pub async fn forward(proxy: &Arc<EgressProxy>, mut request: Request<Incoming>) -> Response<Body> {
    let since = Instant::now();
    let upstreams = &proxy.upstreams;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    // The query may contain something that must not be logged.
    let what = format!("{} {}", request.method(), request.uri().path());
    let route = match keys::route(&upstreams.list, &target) {
        Ok(route) => route,
        Err(why) => return nowhere(proxy, &what, why),
    };
    if Defence::Methods.stands() && !is_method_passed_on(request.method().as_str()) {
        let why = format!("this method is not allowed; these are: {}", METHODS.join(", "));
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
    if let Err(why) = upstream.check(request.method().as_str(), route.rest) {
        let mut answer = proxy.reject(&what, "request-rule", StatusCode::FORBIDDEN, &why.to_string());
        answer.headers_mut().insert("x-bottle-refusal", HeaderValue::from_static("request-rule"));
        return answer;
    }
    let origin = &upstream.origin;
    // A reused idle connection is not dialled, so the rules are checked here, too.
    if let Err(denial) = proxy.dialer.read(|rules| rules.check_closed(origin.host())) {
        return proxy.refuse(&what, &denial);
    }
    let (Ok(uri), Ok(host)) = (
        format!("http://{}{target}", origin.authority()).parse::<Uri>(),
        HeaderValue::from_str(&origin.authority()),
    ) else {
        return proxy.reject(&what, "path", StatusCode::BAD_REQUEST, "the path is not valid");
    };
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    let agent = websocket::wanted(&mut request);
    strip_for_upstream(request.headers_mut());
    request.headers_mut().insert(header::HOST, host);
    if agent.is_some() {
        websocket::ask(request.headers_mut());
    }
    // The process that holds the keys adds the right one.
    let begun = proxy.begun(&what, origin.host());
    let answered = client.request(request).await;
    begun.answered();
    match answered {
        Ok(mut response) => {
            strip_hop_by_hop(response.headers_mut());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let Some(agent) = agent else {
                    let why = "the upstream switched to a protocol that nobody asked for";
                    return proxy.reject(&what, "upgrade", StatusCode::BAD_GATEWAY, why);
                };
                return websocket::open(proxy, what, upstream.path.as_str(), agent, response);
            }
            let (status, ms) = (response.status().as_u16(), audit::millis(since.elapsed()));
            let details = json!({ "request": what, "origin": origin.as_str(), "status": status, "ms": ms });
            proxy.log("upstream", "", upstream.path.as_str(), details);
            response.map(Either::Left)
        }
        Err(error) => proxy.no_answer(&what, origin.host(), &error),
    }
}

fn nowhere(proxy: &EgressProxy, what: &str, why: NoRoute) -> Response<Body> {
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
