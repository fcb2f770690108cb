//! The name of an image in a registry.

use crate::refusal::{Refusal, Result};
use bottle_core::text::ImageDigest;
use oci_spec::distribution::Reference;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The name of an image in a registry: `python:3.12-alpine`, `example.com/team/image@sha256:...`.
///
/// What a short name means is part of the grammar of references, which is the library's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Reference);

impl FromStr for Name {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: String| Refusal::Name(text.to_owned(), why);
        let reference: Reference = text.parse().map_err(|error| refuse(format!("{error}")))?;
        if let Some(digest) = reference.digest() {
            digest.parse::<ImageDigest>().map_err(|error| refuse(format!("its digest {error}")))?;
        }
        Ok(Self(reference))
    }
}

impl Name {
    /// Returns the host to ask, with its port if it has one.
    pub fn host(&self) -> &str {
        self.0.resolve_registry()
    }

    /// Returns the path of the image's repository.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// Returns the digest that is part of the name.
    pub fn digest(&self) -> Option<ImageDigest> {
        self.0.digest().and_then(|digest| digest.parse().ok())
    }

    /// Returns what to ask the repository for: the digest, or the tag.
    pub fn wanted(&self) -> &str {
        self.0.digest().or_else(|| self.0.tag()).unwrap_or_default()
    }

    /// Returns the name without its host, as a part of a sentence.
    pub fn described(&self) -> String {
        let separator = if self.0.digest().is_some() { '@' } else { ':' };
        format!("the image {}{separator}{}", self.repository(), self.wanted())
    }

    /// Returns the name of the image with this tag in the same repository.
    pub fn with_tag(&self, tag: &str) -> Self {
        let (host, repository) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Self(Reference::with_tag(host, repository, tag.to_owned()))
    }

    /// Returns whether the registry is on this machine's loopback. Only there is a registry asked
    /// without TLS, if it does not speak TLS.
    pub fn is_on_loopback(&self) -> bool {
        is_loopback(self.host().rsplit_once(':').map_or(self.host(), |(host, _)| host))
    }

    /// Returns the places in which a login for the image may be stored: its repository, each folder above that, and
    /// its registry.
    pub fn login_keys(&self) -> Vec<String> {
        let mut hosts = vec![self.host()];
        if self.host() != self.0.registry() {
            hosts.push(self.0.registry());
        }
        let folders = std::iter::successors(Some(self.repository()), |path| {
            path.rsplit_once('/').map(|(above, _)| above)
        });
        let below: Vec<&str> = folders.collect();
        let below = below.iter().flat_map(|path| hosts.iter().map(move |host| format!("{host}/{path}")));
        below.chain(self.stored_logins()).collect()
    }

    /// Returns the names under which credentials for the registry may be stored, the usual one first. A
    /// registry whose host has another name than references use is stored as the URL of its old interface.
    pub fn stored_logins(&self) -> Vec<String> {
        let host = self.host();
        let url = format!("https://{host}");
        if host == self.0.registry() {
            vec![host.to_owned(), url]
        } else {
            vec![format!("{url}/v1/"), self.0.registry().to_owned(), host.to_owned()]
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether a host is this machine, in any case of its letters.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_short_name_is_completed_and_two_spellings_are_one_name() {
        assert_eq!(name("python").to_string(), name("python:latest").to_string());
        assert_eq!(name("python").repository(), "library/python");
        assert_eq!(name("localhost:5000/a/b:1").host(), "localhost:5000");
        assert_eq!(name("localhost:5000/a/b:1").wanted(), "1");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(name(&format!("example.com/a:1@{digest}")).wanted(), digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let digest = format!("a@sha512:{}", "a".repeat(128));
        for text in
            ["", "A", "a:b:c", "a b", "../a", "/a", "-a", "a@sha256:1", "http://example.com/a", &digest]
        {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_is_asked_without_tls() {
        for (text, is) in [
            ("localhost/a", true),
            ("localhost:5000/a", true),
            ("LOCALHOST:5000/a", true),
            ("127.0.0.1:5000/a", true),
            ("127.9.9.9/a", true),
            ("127.0.0.1.example.com/a", false),
            ("localhost.example.com:5000/a", false),
            ("10.0.0.1:5000/a", false),
            ("python", false),
        ] {
            assert_eq!(name(text).is_on_loopback(), is, "{text}");
        }
    }
}
