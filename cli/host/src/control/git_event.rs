//! What git-gate reports to the keeper.

use serde::{Deserialize, Serialize};

/// What became of one ref of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitEvent {
    /// It goes straight to the upstream.
    Allowed,
    /// It waits for a person.
    Waiting,
    /// The policy refused it.
    Refused,
    /// The upstream has it.
    Forwarded,
    /// A person approved it.
    Approved,
    /// A person rejected it.
    Rejected,
}

impl GitEvent {
    /// Returns whether a person decided it, rather than a rule.
    pub fn is_a_decision(self) -> bool {
        matches!(self, Self::Approved | Self::Rejected)
    }

    /// Returns whether a hook reports it. Other events come from an operator, or from the keeper itself.
    pub fn is_a_hooks(self) -> bool {
        matches!(self, Self::Allowed | Self::Waiting | Self::Refused)
    }

    /// Returns its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Forwarded => "forwarded",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}
