//! What a registry wants before it gives anything out (`WWW-Authenticate`).

use crate::location::may_ask;
use http_auth::parser::ChallengeParser;
use hyper::Uri;

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password, in each request.
    Basic,
    /// A token that another host gives out.
    Bearer {
        /// Where to ask for the token.
        realm: Uri,
        /// The service that the token is for.
        service: Option<String>,
    },
}

/// Parses the header in which a registry says what it wants.
///
/// # Errors
/// Returns an error if it cannot be read, names no way that bottle knows, or asks for a token from a place to
/// which no password may be sent.
pub fn parse(header: &str, local: bool) -> Result<Challenge, String> {
    let mut known = None;
    for challenge in ChallengeParser::new(header) {
        let challenge = challenge.map_err(|_| "a request for credentials that cannot be read".to_owned())?;
        let parameter = |wanted: &str| {
            let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let realm = parameter("realm").unwrap_or_default();
            let uri: Option<Uri> = realm.parse().ok().filter(|uri| may_ask(uri, local));
            let realm = uri.ok_or_else(|| format!("a request for a token from {realm:.200}"))?;
            return Ok(Challenge::Bearer { realm, service: parameter("service") });
        }
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            known = Some(Challenge::Basic);
        }
    }
    known.ok_or_else(|| "a request for credentials of an unknown kind".to_owned())
}

/// Returns the address at which to ask for a token to read a repository.
///
/// # Errors
/// Returns an error if the realm and the service make no address.
pub fn token(realm: &Uri, service: Option<&str>, repository: &str) -> Result<Uri, String> {
    let mut text = realm.to_string();
    text.push(if realm.query().is_some() { '&' } else { '?' });
    if let Some(service) = service {
        text.push_str("service=");
        encode(&mut text, service);
        text.push('&');
    }
    text.push_str("scope=");
    encode(&mut text, &scope(repository));
    text.parse().map_err(|_| "a request for a token from no address".to_owned())
}

/// Returns the right to read a repository, as tokens name it.
pub fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// Writes text as a query's or a form's value.
pub fn encode(to: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_asked_for_where_the_registry_says() {
        let header = r#"Bearer realm="https://auth.test/token",service="a service",scope="x""#;
        let Challenge::Bearer { realm, service } = parse(header, false).unwrap() else { panic!("no bearer") };
        let uri = token(&realm, service.as_deref(), "library/a").unwrap();
        assert_eq!(uri, "https://auth.test/token?service=a%20service&scope=repository%3Alibrary%2Fa%3Apull");
        assert_eq!(parse("Basic realm=\"x\"", false), Ok(Challenge::Basic));
    }

    #[test]
    fn a_password_goes_to_no_place_without_tls() {
        for realm in [
            "http://auth.test/token",
            "http://169.254.169.254/",
            "http://127.0.0.1/",
            "file:///x",
            "",
            "https://u:p@auth.test/",
        ] {
            assert!(parse(&format!("Bearer realm=\"{realm}\""), false).is_err(), "{realm}");
        }
        assert!(parse("Bearer realm=\"http://127.0.0.1:5001/token\"", true).is_ok());
        assert!(parse("Bearer realm=\"http://auth.test/token\"", true).is_err());
        assert!(parse("Digest realm=\"x\", nonce=\"y\"", false).is_err());
    }

    proptest! {
        #[test]
        fn whatever_a_registry_wants_leads_nowhere_but_to_https(header in ".{0,80}") {
            if let Ok(Challenge::Bearer { realm, service }) = parse(&header, false) {
                prop_assert_eq!(realm.scheme_str(), Some("https"));
                let _ = token(&realm, service.as_deref(), "a");
            }
        }

        #[test]
        fn a_service_stays_one_value(service in ".{0,40}") {
            let uri = token(&"https://auth.test/".parse().unwrap(), Some(&service), "a").unwrap();
            prop_assert_eq!(uri.query().unwrap().matches('&').count(), 1);
        }
    }
}
