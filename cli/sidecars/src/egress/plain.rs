//! Plain HTTP in absolute form: `GET http://host/path`.

use super::reply::Body;
use super::{Proxy, tunnel};
use bottle_core::egress::authority;
use bottle_host::audit;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode, Version};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

const HTTP: u16 = 80;

/// Headers that are about one connection, and end with it (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub async fn forward(proxy: &Arc<Proxy>, mut request: Request<Incoming>) -> Response<Body> {
    let since = Instant::now();
    let uri = request.uri().clone();
    let (Some(scheme), Some(named)) = (uri.scheme(), uri.authority()) else {
        let what = format!("{} {}", request.method(), uri.path());
        return proxy.reject(&what, "no-host", StatusCode::BAD_REQUEST, "the request names no host");
    };
    // The query may carry what a log should not.
    let what = format!("{} {scheme}://{named}{}", request.method(), uri.path());
    if *scheme != Scheme::HTTP {
        return proxy.reject(&what, "scheme", StatusCode::BAD_REQUEST, "for https, ask with CONNECT");
    }
    let Ok((host, port)) = authority(named.as_str(), HTTP) else {
        return proxy.refuse(&what, &tunnel::unreadable(named.as_str()));
    };
    if let Err(denial) = proxy.dialer.check(&host, port) {
        return proxy.refuse(&what, &denial);
    }
    strip_hop_by_hop(request.headers_mut());
    // The server must see the host that was checked, whatever the client wrote there.
    let Ok(host_header) = HeaderValue::from_str(named.as_str()) else {
        return proxy.reject(&what, "no-host", StatusCode::BAD_REQUEST, "the request names no host");
    };
    request.headers_mut().insert(header::HOST, host_header);
    *request.version_mut() = Version::HTTP_11;
    match proxy.client.request(request).await {
        Ok(mut response) => {
            strip_hop_by_hop(response.headers_mut());
            let ms = audit::millis(since.elapsed());
            let status = response.status().as_u16();
            proxy.log("allowed", "", named.as_str(), json!({ "request": what, "status": status, "ms": ms }));
            response.map(Either::Left)
        }
        Err(error) => proxy.no_answer(&what, &host, &error),
    }
}

/// Removes what is about one connection, and what the message itself says is.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}
