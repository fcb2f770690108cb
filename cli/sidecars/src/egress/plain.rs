//! Requests in absolute form: `GET http://host/path`, and `GET https://host/path`, for which the egress proxy itself
//! speaks TLS.

use super::headers::strip_hop_by_hop;
use super::proxy::EgressProxy;
use super::reply::Body;
use super::tunnel;
use bottle_core::egress::authority;
use bottle_core::parent::ParentUse;
use bottle_host::audit;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode, Version};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

pub async fn forward(proxy: &Arc<EgressProxy>, mut request: Request<Incoming>) -> Response<Body> {
    let since = Instant::now();
    let uri = request.uri().clone();
    let (Some(scheme), Some(named)) = (uri.scheme(), uri.authority()) else {
        let what = format!("{} {}", request.method(), uri.path());
        return proxy.reject(&what, "no-host", StatusCode::BAD_REQUEST, "the request names no host");
    };
    // The query may contain something that must not be logged.
    let what = format!("{} {scheme}://{named}{}", request.method(), uri.path());
    let default_port = if *scheme == Scheme::HTTPS {
        HTTPS
    } else if *scheme == Scheme::HTTP {
        HTTP
    } else {
        let why = "the egress proxy speaks http and https, and opens tunnels with CONNECT";
        return proxy.reject(&what, "scheme", StatusCode::BAD_REQUEST, why);
    };
    let Ok((host, port)) = authority(named.as_str(), default_port) else {
        return proxy.refuse(&what, &tunnel::unreadable(named.as_str()));
    };
    if let Err(denial) = proxy.dialer.check(&host, port) {
        return proxy.refuse(&what, &denial);
    }
    strip_hop_by_hop(request.headers_mut());
    // The server must see the host that was checked, whatever the client sent.
    let Ok(host_header) = HeaderValue::from_str(named.as_str()) else {
        return proxy.reject(&what, "no-host", StatusCode::BAD_REQUEST, "the request names no host");
    };
    request.headers_mut().insert(header::HOST, host_header);
    *request.version_mut() = Version::HTTP_11;
    let begun = proxy.begun(&what, &host);
    let answered = proxy.client.request(request).await;
    begun.answered();
    match answered {
        Ok(mut response) => {
            strip_hop_by_hop(response.headers_mut());
            let ms = audit::millis(since.elapsed());
            let status = response.status().as_u16();
            let mut details = json!({ "request": what, "status": status, "ms": ms });
            let of = if default_port == HTTPS { ParentUse::Tunnel } else { ParentUse::Plain };
            if let Some(parent) = proxy.dialer.parent_of(of, &host) {
                details["parent"] = parent.into();
            }
            proxy.log("allowed", "", named.as_str(), details);
            response.map(Either::Left)
        }
        Err(error) => proxy.no_answer(&what, &host, &error),
    }
}
