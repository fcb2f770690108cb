//! `pipelock.yaml`: the configuration for another program that serves the egress proxy's door.
//!
//! The keys are those that pipelock documents for a forward proxy. Its parser refuses every other key,
//! so bottle writes no more.

use crate::egress::{HostPattern, HostRule, Rules};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use serde::{Deserialize, Serialize};

const HTTPS: u16 = 443;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipelock {
    /// How strict it is.
    pub mode: Mode,
    /// The hosts that a guest may reach: `example.com`, `*.example.com`.
    pub api_allowlist: Vec<String>,
    /// The address that it listens on.
    pub fetch_proxy: FetchProxy,
    /// Whether it is a proxy for CONNECT and absolute-form requests.
    pub forward_proxy: ForwardProxy,
}

/// How strict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It allows only what is on the list.
    Strict,
}

/// The address that it listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchProxy {
    /// The address, `127.0.0.1:PORT`.
    pub listen: String,
}

/// Whether it is a forward proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardProxy {
    /// Whether forwarding is on.
    pub enabled: bool,
}

/// A configuration that cannot be written, or text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pipelock.yaml: {0}")]
pub struct PipelockError(String);

impl Pipelock {
    /// Puts the rules into a file for a sidecar on this port, as far as the format can express them. The
    /// rules that it cannot express are returned beside it, and what they allow stays closed: rules for
    /// ports other than 443 or every host, and rules that another one closes in part.
    pub fn for_rules(rules: &Rules, port: u16) -> (Self, Vec<&HostRule>) {
        let (carried, left_out): (Vec<_>, Vec<_>) = rules.allow.iter().partition(|rule| {
            // Its documentation says nothing of a list that allows every host.
            let is_expressible = rule.pattern != HostPattern::Any && rule.ports.iter().eq([&HTTPS]);
            is_expressible && !rules.deny.iter().any(|denied| meet(&rule.pattern, denied))
        });
        let pipelock = Self {
            mode: Mode::Strict,
            api_allowlist: carried.iter().map(|rule| rule.pattern.to_string()).collect(),
            fetch_proxy: FetchProxy { listen: format!("{}:{port}", Ipv4Addr::LOCALHOST) },
            forward_proxy: ForwardProxy { enabled: true },
        };
        (pipelock, left_out)
    }

    /// Returns the file's text, with a comment for each rule that it cannot express.
    ///
    /// # Errors
    /// Returns an error if the format cannot hold a value.
    pub fn render(&self, left_out: &[&HostRule]) -> Result<String, PipelockError> {
        let body = serde_saphyr::to_string(self).map_err(|error| PipelockError(error.to_string()))?;
        let left_out: String =
            left_out.iter().map(|rule| format!("# not carried, and so closed: {rule}\n")).collect();
        Ok(format!("# Written by bottle. Changes are lost at the next start.\n{left_out}{body}"))
    }

    /// Reads a file that bottle wrote.
    ///
    /// # Errors
    /// Returns [`PipelockError`] if it is not YAML or has an unknown key.
    pub fn parse(text: &str) -> Result<Self, PipelockError> {
        serde_saphyr::from_str(text).map_err(|error| PipelockError(error.to_string()))
    }
}

/// Returns whether some host matches both patterns.
fn meet(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Any, _) | (_, HostPattern::Any) => true,
        (HostPattern::Exact(host), pattern) | (pattern, HostPattern::Exact(host)) => pattern.matches(host),
        (HostPattern::Below(one), HostPattern::Below(other)) => {
            one == other
                || HostPattern::Below(one.clone()).matches(other)
                || HostPattern::Below(other.clone()).matches(one)
        }
    }
}
