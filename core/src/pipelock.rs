//! `pipelock.yaml`: what another program that serves the pipelock door is told.
//!
//! The keys are those that pipelock documents for a forward proxy; its parser refuses every other,
//! so no more are written.

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
    /// What is not allowed is refused.
    pub mode: Mode,
    /// The hosts that may be reached: `example.com`, `*.example.com`.
    pub api_allowlist: Vec<String>,
    /// Where it listens.
    pub fetch_proxy: FetchProxy,
    /// That it is a proxy for CONNECT and absolute-form requests.
    pub forward_proxy: ForwardProxy,
}

/// How strict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only the allow list.
    Strict,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchProxy {
    /// `127.0.0.1:PORT`.
    pub listen: String,
}

/// That it is a forward proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardProxy {
    /// Whether it is one.
    pub enabled: bool,
}

/// The format's own refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pipelock.yaml: {0}")]
pub struct PipelockError(String);

impl Pipelock {
    /// The rules as far as the file can carry them, for a sidecar on this port; and the rules that
    /// it cannot carry, which stay closed: those with other ports than 443, and those of which a part
    /// is closed again.
    pub fn for_rules(rules: &Rules, port: u16) -> (Self, Vec<&HostRule>) {
        let (carried, left_out): (Vec<_>, Vec<_>) = rules.allow.iter().partition(|rule| {
            rule.ports.iter().eq([&HTTPS]) && !rules.deny.iter().any(|denied| meet(&rule.pattern, denied))
        });
        let pipelock = Self {
            mode: Mode::Strict,
            api_allowlist: carried.iter().map(|rule| rule.pattern.to_string()).collect(),
            fetch_proxy: FetchProxy { listen: format!("{}:{port}", Ipv4Addr::LOCALHOST) },
            forward_proxy: ForwardProxy { enabled: true },
        };
        (pipelock, left_out)
    }

    /// The file's text, with the rules that it cannot carry in a comment.
    ///
    /// # Errors
    /// The format's own refusal.
    pub fn render(&self, left_out: &[&HostRule]) -> Result<String, PipelockError> {
        let body = serde_saphyr::to_string(self).map_err(|error| PipelockError(error.to_string()))?;
        let left_out: String =
            left_out.iter().map(|rule| format!("# not carried, and so closed: {rule}\n")).collect();
        Ok(format!("# Written by bottle. Changes are lost at the next start.\n{left_out}{body}"))
    }

    /// Reads a file that bottle wrote.
    ///
    /// # Errors
    /// [`PipelockError`] where it is no YAML or has a key that is none of these.
    pub fn parse(text: &str) -> Result<Self, PipelockError> {
        serde_saphyr::from_str(text).map_err(|error| PipelockError(error.to_string()))
    }
}

/// Whether there is a host that both patterns cover.
fn meet(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Exact(host), pattern) | (pattern, HostPattern::Exact(host)) => pattern.matches(host),
        (HostPattern::Below(one), HostPattern::Below(other)) => {
            one == other
                || HostPattern::Below(one.clone()).matches(other)
                || HostPattern::Below(other.clone()).matches(one)
        }
    }
}
