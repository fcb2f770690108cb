//! An agent's requests to its operator, and the operator's decisions.

use bottle_core::egress::HostRule;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum AgentRequest {
    /// Access to a host.
    Host {
        /// The host.
        rule: HostRule,
        /// The agent's reason.
        reason: String,
    },
    /// An answer to a question.
    Question {
        /// The question.
        question: String,
    },
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the request is approved.
    pub approved: bool,
    /// The answer, or the reason for rejecting.
    pub says: Option<String>,
}

/// A request that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Waiting {
    /// Its number in this bottle, counted from 1 and never used again.
    pub number: u32,
    /// The request.
    #[serde(rename = "wish")]
    pub request: AgentRequest,
    /// When it was first asked for.
    pub since: SystemTime,
    /// How many of the agent's calls wait for it now.
    pub callers: usize,
}

impl AgentRequest {
    /// Returns whether another request asks for the same thing. The reason for a host may differ.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host { rule, .. }, Self::Host { rule: wanted, .. }) => rule == wanted,
            _ => self == other,
        }
    }

    /// Returns whether it can only be approved with an answer.
    pub fn needs_an_answer(&self) -> bool {
        matches!(self, Self::Question { .. })
    }
}
