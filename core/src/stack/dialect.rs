//! How a version of gvproxy is configured: by a file or by flags.

use crate::slug::Slug;
use crate::subnet::Subnet;
use crate::wire::MTU;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A version of gvproxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
    /// The third number.
    pub patch: u16,
}

/// Output of `gvproxy -version` that contains no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no version of gvproxy in {0:?}")]
pub struct InvalidVersion(String);

impl Version {
    /// The oldest version that this project has been run with: Debian 13's.
    pub const OLDEST: Self = Self { major: 0, minor: 8, patch: 1 };
    /// The first version that reads a configuration file.
    pub const CONFIG_FILE: Self = Self { major: 0, minor: 8, patch: 8 };
}

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Reads what `gvproxy -version` prints: `gvproxy version v0.8.1`, perhaps with a suffix.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.trim().to_owned());
        let number = text.split_whitespace().last().ok_or_else(invalid)?.trim_start_matches('v');
        let plain = number.split(['-', '+', '~']).next().unwrap_or_default();
        let mut parts = plain.split('.').map(str::parse::<u16>);
        let mut next = || parts.next().and_then(Result::ok).ok_or_else(invalid);
        Ok(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How a gvproxy is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Dialect {
    /// By `-config gvproxy.yaml`, since version 0.8.8.
    File,
    /// By command-line flags alone, before that. The subnet cannot be chosen.
    Flags,
}

impl Dialect {
    /// Returns the dialect of a version.
    pub fn of(version: Version) -> Self {
        if version >= Version::CONFIG_FILE { Self::File } else { Self::Flags }
    }

    /// Returns the subnet of a bottle whose gvproxy speaks this dialect.
    pub fn subnet(self, slug: &Slug) -> Subnet {
        match self {
            Self::File => slug.subnet(),
            Self::Flags => Subnet::FIXED,
        }
    }

    /// Returns gvproxy's arguments, with the paths as gvproxy sees them.
    ///
    /// The link is a `SOCK_SEQPACKET` socket (gvproxy's "bess"). It keeps frames apart by itself and has
    /// back-pressure, and both dialects support it. For its length-prefixed stream gvproxy copies and
    /// allocates for each frame (`pkg/tap/switch.go`); here it does neither.
    pub fn arguments(self, config: &str, link: &str) -> Vec<String> {
        match self {
            Self::File => vec!["-config".to_string(), config.to_string()],
            Self::Flags => vec![
                "-mtu".to_string(),
                MTU.to_string(),
                // No port on the host may lead to the guest's SSH.
                "-ssh-port".to_string(),
                "-1".to_string(),
                "-listen-bess".to_string(),
                link_url(link),
            ],
        }
    }
}

pub(crate) fn link_url(path: &str) -> String {
    format!("unixpacket://{path}")
}
