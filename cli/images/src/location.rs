//! Where a redirect leads, and whether it is followed.

use crate::name::is_loopback;
use hyper::Uri;

/// Returns the address that a redirect leads to.
///
/// # Errors
/// Returns why it is not followed: it leads out of HTTPS, or nowhere.
pub fn follow(from: &Uri, location: &str) -> Result<Uri, String> {
    let whole = resolve(from, location.split('#').next().unwrap_or_default());
    let shown = || if whole.len() > 200 { "an address that is too long".to_owned() } else { whole.clone() };
    let uri: Uri = whole.parse().map_err(|_| format!("a redirect to {}", shown()))?;
    if may_ask(&uri, is_local(from)) { Ok(uri) } else { Err(format!("a redirect to {}", shown())) }
}

/// Completes a reference without a fragment, as RFC 3986 (5.2) does. An empty one leads nowhere and stays empty.
fn resolve(from: &Uri, reference: &str) -> String {
    let scheme = from.scheme_str().unwrap_or_default();
    let authority = from.authority().map_or("", |text| text.as_str());
    if reference.is_empty() || has_scheme(reference) {
        return reference.to_owned();
    }
    if reference.starts_with("//") {
        return format!("{scheme}:{reference}");
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match path {
        "" => from.path().to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => without_dots(&format!("{folder}/{path}")),
    };
    format!("{scheme}://{authority}{path}{query}")
}

/// Returns whether a reference begins with a scheme: `https:`.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
}

/// Removes `.` and `..` from a path that begins with `/`.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path[1..].split('/') {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
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
        assert_eq!(follow(&from, "https://cdn.test/x").unwrap(), uri("https://cdn.test/x"));
        for bad in [
            "http://registry.test/x",
            "http://127.0.0.1/x",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "ftp://registry.test/x",
            "",
            "#x",
            "//",
            "//user:word@cdn.test/x",
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
    fn a_redirect_may_be_relative() {
        let from = uri("https://registry.test:8443/v2/a/blobs/x?y=1");
        for (location, to) in [
            ("/other?x=1", "https://registry.test:8443/other?x=1"),
            ("other", "https://registry.test:8443/v2/a/blobs/other"),
            (
                "other?u=https://cdn.test/#z",
                "https://registry.test:8443/v2/a/blobs/other?u=https://cdn.test/",
            ),
            ("./z:w", "https://registry.test:8443/v2/a/blobs/z:w"),
            ("../c/./d", "https://registry.test:8443/v2/a/c/d"),
            ("../../../../..", "https://registry.test:8443/"),
            ("..", "https://registry.test:8443/v2/a/"),
            ("?x=1", "https://registry.test:8443/v2/a/blobs/x?x=1"),
            ("//cdn.test/x", "https://cdn.test/x"),
        ] {
            assert_eq!(follow(&from, location).unwrap(), uri(to), "{location}");
        }
        assert_eq!(follow(&uri("https://a.test"), "x").unwrap(), uri("https://a.test/x"));
        assert!(follow(&uri("http://127.0.0.1:5000/v2/"), "//cdn.test/x").is_err());
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
