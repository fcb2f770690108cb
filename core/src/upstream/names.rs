//! What an upstream is made of, checked where it enters.

use crate::egress::{HostName, InvalidHost, authority};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

const HTTPS: u16 = 443;
const SCHEME: &str = "https://";
/// The longest path of an upstream, in bytes.
const MAX_PATH: usize = 128;

/// Headers that are about the connection or the message's form: the proxy's own business.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a text is no part of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    /// A path that is not one or more plain segments.
    #[error("{0:?} is no path like \"/anthropic\": segments of letters, digits, '.', '_' and '-'")]
    Path(String),
    /// An origin that is not https. What carries a key is encrypted.
    #[error("{0:?} is no https origin, like \"https://api.example.com\"")]
    NotHttps(String),
    /// An origin with something after its path.
    #[error("{0:?} has a query, a fragment or a user in it")]
    NotBare(String),
    /// An origin whose host is none.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// A header's name that HTTP does not know as one.
    #[error("{0:?} is no header's name")]
    Header(String),
    /// A header that is the proxy's own business.
    #[error("{0:?} is set by the proxy itself")]
    Framing(String),
    /// A secret with no source, or with several.
    #[error("a secret has one of from_env, from_file and from_command")]
    Source,
    /// A preset that there is not.
    #[error("{0:?} is no preset; there are anthropic, openai and github")]
    Preset(String),
}

/// Where an upstream is on the door: `/anthropic`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpstreamPath(String);

/// Where an upstream leads: `https://HOST[:PORT][/BASE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    text: String,
    host: HostName,
    port: u16,
}

/// A header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);

fn is_plain(path: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    path.len() <= MAX_PATH && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

impl UpstreamPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UpstreamPath {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        if is_plain(text) { Ok(Self(text.to_owned())) } else { Err(InvalidUpstream::Path(text.to_owned())) }
    }
}

impl Origin {
    /// The origin as text, without a final slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its port; 443 where none is named.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as a `Host` header has them.
    pub fn authority(&self) -> String {
        if self.port == HTTPS {
            self.host.as_str().to_owned()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| InvalidUpstream::NotHttps(text.to_owned()))?;
        if rest.contains(['@', '?', '#']) {
            return Err(InvalidUpstream::NotBare(text.to_owned()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (named, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !base.is_empty() && !is_plain(base) {
            return Err(InvalidUpstream::Path(base.to_owned()));
        }
        let (host, port) = authority(named, HTTPS)?;
        Ok(Self { text: [SCHEME, rest].concat(), host, port })
    }
}

impl HeaderName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        // A token of RFC 9110, 5.6.2.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(InvalidUpstream::Header(text.to_owned()));
        }
        let name = text.to_ascii_lowercase();
        if FRAMING.contains(&name.as_str()) {
            return Err(InvalidUpstream::Framing(name));
        }
        Ok(Self(name))
    }
}

macro_rules! as_text {
    ($name:ident, $field:tt) => {
        impl TryFrom<String> for $name {
            type Error = InvalidUpstream;

            fn try_from(text: String) -> Result<Self, InvalidUpstream> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.$field
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    };
}

as_text!(UpstreamPath, 0);
as_text!(Origin, text);
as_text!(HeaderName, 0);
