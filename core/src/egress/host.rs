//! Host names and the patterns that allow them.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use serde::{Deserialize, Serialize};

const HTTPS: u16 = 443;

/// A host's name in lower case, without a final dot. It is never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostName(String);

/// One host, every host below a domain, or every host there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HostPattern {
    /// Only this host: `example.com`.
    Exact(HostName),
    /// Every host below this one, but not this one itself: `*.example.com`.
    Below(HostName),
    /// Every host: `*`. It opens no address that is not public.
    Any,
}

/// A pattern with the ports that it opens: `example.com`, `*.example.com:443,8443`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostRule {
    /// The hosts.
    pub pattern: HostPattern,
    /// The ports. Without any in the text it is 443 alone.
    pub ports: BTreeSet<u16>,
}

/// Why text is not a host, a pattern or a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// The text is not a host name.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// The text is an address. Rules are about names; an address could belong to anybody tomorrow.
    #[error("{0:?} is an address; rules name hosts")]
    Address(String),
    /// A `*` is not the whole first label.
    #[error("{0:?}: '*' is allowed only alone, or at the start, as in \"*.example.com\"")]
    Wildcard(String),
    /// The pattern would open a whole top-level domain.
    #[error("{0:?} would open a whole top-level domain")]
    TooWide(String),
    /// A port is not a number from 1 to 65535.
    #[error("{0:?} is not a port")]
    Port(String),
    /// The text is a URL, or has a path. Holds the rule that names its host.
    #[error("{0:?} is a URL; a rule names the host alone: {1:?}")]
    Url(String, String),
}

impl HostName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost::Name(text.to_owned());
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() || is_legacy_address(text) {
            return Err(InvalidHost::Address(text.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(invalid());
        }
        Ok(Self(name))
    }
}

/// Returns what a rule for the host of a URL looks like.
fn host_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = if scheme.eq_ignore_ascii_case("http") && !host.contains(':') { ":80" } else { "" };
    alloc::format!("{host}{port}")
}

/// Returns whether a resolver's `inet_aton` would read `text` as an IPv4 address: `127.1`, `0x7f000001`,
/// `2130706433`, `0177.0.0.1`. The last label of such text starts with a digit, and no top-level domain
/// does.
fn is_legacy_address(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.starts_with(|c: char| c.is_ascii_digit())
}

impl HostPattern {
    /// Returns whether the pattern covers `host`.
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(suffix) => {
                // A host's name does not begin with a dot, so there is a label before this one.
                host.0.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Any => true,
        }
    }

    /// Returns whether the pattern covers every host that another one does.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(host)) => self.matches(host),
            // Every host below a host that is below this one is below this one, too.
            (Self::Below(_), Self::Below(suffix)) => self == other || self.matches(suffix),
            (Self::Any, _) => true,
            (_, Self::Any) | (Self::Exact(_), Self::Below(_)) => false,
        }
    }

    /// Returns whether the pattern covers `host` by its name, and not merely because it covers every host.
    pub fn names(&self, host: &HostName) -> bool {
        *self != Self::Any && self.matches(host)
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let Some(suffix) = text.strip_prefix("*.") else {
            if text == "*" {
                return Ok(Self::Any);
            }
            if text.contains('*') {
                return Err(InvalidHost::Wildcard(text.to_owned()));
            }
            return Ok(Self::Exact(text.parse()?));
        };
        if suffix.contains('*') {
            return Err(InvalidHost::Wildcard(text.to_owned()));
        }
        let suffix: HostName = suffix.parse()?;
        if !suffix.as_str().contains('.') {
            return Err(InvalidHost::TooWide(text.to_owned()));
        }
        Ok(Self::Below(suffix))
    }
}

impl FromStr for HostRule {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text.contains('/') {
            let Ok(rule) = host_of(text).parse::<Self>() else {
                return Err(InvalidHost::Name(text.to_owned()));
            };
            return Err(InvalidHost::Url(text.to_owned(), rule.to_string()));
        }
        // An IPv6 literal has colons of its own. The name's parser says what is wrong with it.
        let (pattern, ports) = match text.rsplit_once(':') {
            Some(_) if text.parse::<Ipv6Addr>().is_ok() || text.starts_with('[') => (text, None),
            Some((pattern, ports)) => (pattern, Some(ports)),
            None => (text, None),
        };
        let pattern = pattern.parse()?;
        let ports = match ports {
            None => BTreeSet::from([HTTPS]),
            Some(list) => list
                .split(',')
                .map(|port| match port.trim().parse::<u16>() {
                    Ok(port) if port != 0 => Ok(port),
                    _ => Err(InvalidHost::Port(port.to_owned())),
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { pattern, ports })
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern)?;
        if self.ports.len() == 1 && self.ports.contains(&HTTPS) {
            return Ok(());
        }
        for (i, port) in self.ports.iter().enumerate() {
            write!(f, "{}{port}", if i == 0 { ':' } else { ',' })?;
        }
        Ok(())
    }
}

macro_rules! through_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = InvalidHost;

            fn try_from(text: String) -> Result<Self, InvalidHost> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

through_text!(HostName, HostPattern, HostRule);

/// Splits a request's authority, `HOST:PORT` or `HOST`.
///
/// # Errors
/// Returns [`InvalidHost`] if it names no host or is an address.
pub fn authority(text: &str, default_port: u16) -> Result<(HostName, u16), InvalidHost> {
    if text.starts_with('[') || text.parse::<Ipv4Addr>().is_ok() {
        return Err(InvalidHost::Address(text.to_owned()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let number = port.parse::<u16>().ok().filter(|&p| p != 0);
            Ok((host.parse()?, number.ok_or_else(|| InvalidHost::Port(port.to_owned()))?))
        }
        None => Ok((text.parse()?, default_port)),
    }
}
