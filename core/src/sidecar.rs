//! The host-side programs that a guest may talk to.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A sidecar: one program on the host, behind one door, on one port of `proxy.internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sidecar {
    /// The egress proxy that `HTTPS_PROXY` names. Every bottle has it.
    Pipelock,
    /// Where the agent pushes; a person's policy decides what goes upstream.
    GitGate,
    /// Where the agent asks its operator for something.
    Supervise,
}

/// A word that names no sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such sidecar; there are pipelock, git-gate and supervise")]
pub struct UnknownSidecar;

impl Sidecar {
    /// Every sidecar there is, in the order in which ports are handed out.
    pub const ALL: [Self; 3] = [Self::Pipelock, Self::GitGate, Self::Supervise];

    /// The name that configuration, plans and logs use.
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
