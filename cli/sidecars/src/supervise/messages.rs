//! The tools' requests and responses.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks for a host.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct RequestHost {
    /// The host to reach: example.com, *.example.com, or example.com:8443
    pub host: String,
    /// Why it is needed, for the operator to read
    pub reason: String,
    /// How many seconds to wait for a decision [default: 50, at most 3600]
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Asks a question.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The question, for the operator to read
    pub question: String,
    /// How many seconds to wait for an answer [default: 50, at most 3600]
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Goes on waiting for a decision.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The id that came with `undecided`
    pub id: u32,
    /// How many seconds to wait for the decision [default: 50, at most 3600]
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Tells the operator what the agent is doing.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What the agent is doing now, in a sentence or two
    pub status: String,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Outcome {
    /// The decision
    pub decision: Word,
    /// The request's id, with which `decision` goes on waiting for it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The operator's answer, or why not
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Yes: the host can be reached now, or here is the answer
    Approved,
    /// No
    Refused,
    /// Nothing yet: the request stays with the operator, and asking again with its id goes on waiting
    Undecided,
    /// The report was recorded
    Noted,
}
