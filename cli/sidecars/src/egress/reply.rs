//! Responses that the egress proxy writes itself.

use super::dial::DialError;
use bottle_core::egress::Denial;
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
    if let Some((host, port)) = denial.could_allow() {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        body.push_str(&format!("\nyour operator could allow it: bottle allow {slug} {host}{port}"));
    }
    let mut response = text(StatusCode::FORBIDDEN, body);
    response.headers_mut().insert("x-bottle-refusal", HeaderValue::from_static(denial.name()));
    response
}

/// Returns the response for a host that could not be reached.
pub fn unreachable(error: &DialError) -> Response<Body> {
    text(StatusCode::BAD_GATEWAY, format!("bottle: {error}"))
}
