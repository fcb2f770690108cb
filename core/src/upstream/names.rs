//! The parts of an upstream, checked where they enter.

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

/// Headers about the connection or the form of the message, which only the proxy sets.
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

/// Why text is not a part of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    /// The path is not one or more plain segments.
    #[error("{0:?} is not a path such as \"/anthropic\": segments of letters, digits, '.', '_' and '-'")]
    Path(String),
    /// The origin is not https. A request with a key has to be encrypted.
    #[error("{0:?} is not an https origin such as \"https://api.example.com\"")]
    NotHttps(String),
    /// The origin is more than a host, a port and a path.
    #[error("{0:?} contains a query, a fragment or a user")]
    NotBare(String),
    /// The origin's host is not a host name.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The header's name is not one in HTTP.
    #[error("{0:?} is not the name of a header")]
    Header(String),
    /// Only the proxy sets this header.
    #[error("{0:?} is set by the proxy itself")]
    Framing(String),
    /// The rule is not a method and a path.
    #[error(
        "{0:?} is not a rule such as \"GET /repos/acme/*\": methods, a space and a path of plain segments, in which '*' is a whole segment, and at the end everything below"
    )]
    Rule(String),
    /// The rule has another method.
    #[error("{0:?} has a method that goes to no upstream; these do: {1}")]
    Method(String, String),
    /// The secret has no source, or several.
    #[error("a secret needs exactly one of from_env, from_file, from_command and from_login")]
    Source,
    /// Only a command is run again.
    #[error("only a secret with from_command has a lifetime")]
    Lifetime,
    /// There is no such login.
    #[error("{0:?} is not a login; the logins are claude and codex")]
    Login(String),
    /// There is no such preset.
    #[error("{0:?} is not a preset; the presets are anthropic, openai, gemini, github, claude and codex")]
    Preset(String),
}

/// The path of an upstream on the door: `/anthropic`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpstreamPath(String);

/// The origin that an upstream leads to: `https://HOST[:PORT][/BASE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Origin {
    text: String,
    host: HostName,
    port: u16,
}

/// A header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HeaderName(String);

fn is_plain(path: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    path.len() <= MAX_PATH && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

impl UpstreamPath {
    /// Returns the path as text.
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
    /// Returns the origin as text, without a final slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Returns its port, 443 if the text names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port in the form of a `Host` header.
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
    /// Returns the name as text.
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
