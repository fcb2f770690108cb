//! Removes the headers that must not be passed on.

use bottle_core::upstream::{CREDENTIALS, is_header_passed_on};
use bottle_host::defence::Defence;
use hyper::header::{self, HeaderMap, HeaderName};

/// Headers that apply to a single connection (RFC 9110, 7.6.1).
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

/// Removes the headers that apply to a single connection, including those that `Connection` names.
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

/// Removes the headers that a guest must not choose: its credentials, and everything but the path that could
/// change what the request asks for.
pub fn strip_for_upstream(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
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
