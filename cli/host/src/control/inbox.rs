//! What an agent asks its operator for, and what the operator decides.

use bottle_core::egress::HostRule;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum AgentRequest {
    /// To reach a host.
    Host {
        /// Which.
        rule: HostRule,
        /// What for.
        reason: String,
    },
    /// An answer.
    Question {
        /// To what.
        question: String,
    },
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub approved: bool,
    /// The answer, or why not.
    pub says: Option<String>,
}

/// What waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[derive(schemars::JsonSchema)]
pub struct Waiting {
    /// Its number in this bottle, from 1. None has it again.
    pub number: u32,
    /// What it is.
    #[serde(rename = "wish")]
    pub request: AgentRequest,
    /// When it was asked for first.
    pub since: SystemTime,
    /// How many of the agent's calls wait for it now.
    pub callers: usize,
}

impl AgentRequest {
    /// Whether another wish asks for the same: a host's reason may be put in other words.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host { rule, .. }, Self::Host { rule: wanted, .. }) => rule == wanted,
            _ => self == other,
        }
    }

    /// Whether a yes alone says nothing.
    pub fn needs_an_answer(&self) -> bool {
        matches!(self, Self::Question { .. })
    }
}
