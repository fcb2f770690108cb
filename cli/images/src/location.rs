//! Where a redirect leads, and whether it is followed.

use crate::name::is_loopback;
use hyper::Uri;

/// Returns the address that a redirect leads to.
///
/// # Errors
/// Returns why it is not followed: it leads out of HTTPS, or has a form that no registry uses.
pub fn follow(from: &Uri, location: &str) -> Result<Uri, String> {
    let whole = if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = (from.scheme_str(), from.authority());
        format!("{}://{}{location}", scheme.unwrap_or_default(), authority.map_or("", |text| text.as_str()))
    } else {
        location.to_owned()
    };
    let shown = || if whole.len() > 200 { "an address that is too long".to_owned() } else { whole.clone() };
    let uri: Uri = whole.parse().map_err(|_| format!("a redirect to {}", shown()))?;
    if may_ask(&uri, is_local(from)) { Ok(uri) } else { Err(format!("a redirect to {}", shown())) }
}

/// Returns whether an address is asked: over HTTPS, or on loopback if the registry itself is there. An
/// address with a user's name is not.
pub fn may_ask(uri: &Uri, local: bool) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let has_user = authority.as_str().contains('@');
    let is_allowed = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => local && is_loopback(authority.host()),
        _ => false,
    };
    is_allowed && !has_user && !authority.host().is_empty()
}

/// Returns whether an address is one of a registry on loopback, which may use HTTP.
pub fn is_local(uri: &Uri) -> bool {
    uri.scheme_str() == Some("http") && uri.host().is_some_and(is_loopback)
}

/// Returns whether credentials for one address may be sent to another.
pub fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_never_leads_out_of_https() {
        let from = uri("https://registry.test/v2/a/blobs/x");
        assert_eq!(follow(&from, "/other?x=1").unwrap(), uri("https://registry.test/other?x=1"));
        assert_eq!(follow(&from, "https://cdn.test/x").unwrap(), uri("https://cdn.test/x"));
        for bad in [
            "http://registry.test/x",
            "http://127.0.0.1/x",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "ftp://registry.test/x",
            "//cdn.test/x",
            "x",
            "",
            "https://user:word@cdn.test/x",
            "https://",
        ] {
            assert!(follow(&from, bad).is_err(), "{bad}");
        }
        let local = uri("http://127.0.0.1:5000/v2/");
        assert!(follow(&local, "http://localhost:5001/x").is_ok());
        assert!(follow(&local, "https://cdn.test/x").is_ok());
        assert!(follow(&local, "http://cdn.test/x").is_err());
        assert!(follow(&uri("https://cdn.test/x"), "http://127.0.0.1:5000/").is_err());
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let is = |one: &str, other: &str| is_same_origin(&uri(one), &uri(other));
        assert!(is("https://a.test/x", "https://A.test:443/y"));
        assert!(!is("https://a.test/x", "https://b.test/x"));
        assert!(!is("https://a.test/x", "https://a.test:8443/x"));
        assert!(!is("http://127.0.0.1:5000/x", "http://127.0.0.1:5001/x"));
    }

    proptest! {
        #[test]
        fn whatever_a_registry_writes_is_followed_only_over_https(location in ".{0,60}") {
            if let Ok(to) = follow(&uri("https://registry.test/v2/"), &location) {
                prop_assert_eq!(to.scheme_str(), Some("https"));
            }
        }
    }
}
