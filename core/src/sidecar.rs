//! The programs on the host that a guest may talk to.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A sidecar: one program on the host behind one door, on one port of `proxy.internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Sidecar {
    /// The egress proxy, to which `HTTPS_PROXY` points. Every bottle has it. Files, logs and ports call it
    /// `pipelock`, after a program that can take its place.
    Pipelock,
    /// The git server that the agent pushes to. A person's policy decides what goes upstream.
    GitGate,
    /// The server through which the agent asks its operator for something.
    Supervise,
}

/// The name of a sidecar that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such sidecar; the sidecars are pipelock, git-gate and supervise")]
pub struct UnknownSidecar;

impl Sidecar {
    /// Every sidecar, in the order in which ports are assigned.
    pub const ALL: [Self; 3] = [Self::Pipelock, Self::GitGate, Self::Supervise];

    /// Returns the name that configuration, plans and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipelock => "pipelock",
            Self::GitGate => "git-gate",
            Self::Supervise => "supervise",
        }
    }
}

impl fmt::Display for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Sidecar {
    type Err = UnknownSidecar;

    fn from_str(word: &str) -> Result<Self, UnknownSidecar> {
        Self::ALL.into_iter().find(|s| s.name() == word).ok_or(UnknownSidecar)
    }
}
