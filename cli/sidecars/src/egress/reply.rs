//! Responses that the egress proxy writes itself.

use super::dial::DialError;
use bottle_core::PROXY_NAME;
use bottle_core::egress::{Denial, HostName};
use bottle_core::slug::Slug;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// A response's body: the upstream's, passed through as it arrives, or a short text of the proxy's own.
pub type Body = Either<Incoming, Full<Bytes>>;

/// Returns a short text response.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut body: String = text.into();
    if !body.is_empty() {
        body.push('\n');
    }
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Returns a refusal that says why, and how the operator could allow the request.
pub fn denied(slug: &Slug, denial: &Denial) -> Response<Body> {
    let mut body = format!("bottle: {denial}");
    if denial.host().is_some_and(is_own) {
        body = own();
    } else if let Some((host, port)) = denial.could_allow() {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        body.push_str(&format!("\nyour operator could allow it: bottle allow {slug} {host}{port}"));
    }
    let mut response = text(StatusCode::FORBIDDEN, body);
    response.headers_mut().insert("x-bottle-refusal", HeaderValue::from_static(denial.name()));
    response
}

/// Returns the response for a host that could not be reached.
pub fn unreachable(error: &DialError) -> Response<Body> {
    let is_own = matches!(error, DialError::Resolve(host) if is_own(host));
    text(StatusCode::BAD_GATEWAY, if is_own { own() } else { format!("bottle: {error}") })
}

fn is_own(host: &HostName) -> bool {
    host.as_str() == PROXY_NAME
}

/// Says what to do about a request that asks the proxy for itself.
fn own() -> String {
    format!(
        "bottle: {PROXY_NAME} is this sandbox's own name: ask it without a proxy (it belongs in NO_PROXY)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn nobody_is_told_to_allow_the_sandboxs_own_name() {
        for (host, wanted) in [(PROXY_NAME, "ask it without a proxy"), ("a.test", "bottle allow t a.test")] {
            let refused = denied(&"t".parse().unwrap(), &Denial::Host(host.parse().unwrap()));
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            let text = refused.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(wanted) && (host != PROXY_NAME || !text.contains("allow")), "{text}");
        }
    }
}
