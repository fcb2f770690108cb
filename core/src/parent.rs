//! The parent proxy: the one through which this machine itself reaches the internet, as in many companies.

use crate::text::EnvName;
use crate::upstream::Secret;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The proxies through which the egress proxy's own connections leave this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Parent {
    /// The proxy that is asked for tunnels: for everything but plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<ParentProxy>,
    /// The proxy that is asked for plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<ParentProxy>,
    /// The hosts that are reached without it, in the form of `NO_PROXY`: a name stands for what is below it, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// One proxy, without its login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParentProxy {
    /// Its host, a name or an address, and its port: `proxy.example.com:3128`.
    pub address: String,
    /// The variable of the environment that names it. Without one, `bottle.toml` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<EnvName>,
    /// Where its login is, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<ParentLogin>,
}

/// Where the login of a parent proxy is. The login itself is never here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ParentLogin {
    /// In the URL that this variable of the environment has.
    Url(EnvName),
    /// In a secret of the form `USER:PASSWORD`.
    Secret(Secret),
}

/// What a parent proxy is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParentUse {
    /// A tunnel to a host and port.
    Tunnel,
    /// A page by plain HTTP.
    Plain,
}

impl Parent {
    /// Returns the proxy for a use, if there is one.
    pub fn proxy(&self, of: ParentUse) -> Option<&ParentProxy> {
        match of {
            ParentUse::Tunnel => self.tunnels.as_ref(),
            ParentUse::Plain => self.plain.as_ref(),
        }
    }

    /// Returns each proxy with its use.
    pub fn proxies(&self) -> impl Iterator<Item = (ParentUse, &ParentProxy)> {
        [ParentUse::Tunnel, ParentUse::Plain].into_iter().filter_map(|of| Some((of, self.proxy(of)?)))
    }
}

impl fmt::Display for ParentUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "https and tunnels",
            Self::Plain => "plain http",
        })
    }
}

impl fmt::Display for ParentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.variable.as_ref().map_or_else(|| "bottle.toml".to_string(), |name| format!("${name}"));
        write!(f, "{}, from {by}", self.address)?;
        match &self.login {
            None => Ok(()),
            Some(ParentLogin::Url(_)) => f.write_str(", with the login in it"),
            Some(ParentLogin::Secret(secret)) => write!(f, ", with the login from {}", secret.source),
        }
    }
}
