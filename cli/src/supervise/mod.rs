//! supervise: where the agent asks its operator for something.
//!
//! The same three tools over MCP (streamable HTTP, at `/mcp`) and as plain HTTP (`POST /ask`). A call
//! waits, as long as it chose to, for what a person decides with `bottle approve` or `bottle refuse`.
//! What the agent says is shown to that person, escaped, and never run.

pub mod inbox;
mod mcp;
mod plain;

use crate::http::{self, Limits, Room};
use crate::keeper::audit::Audit;
use bottle_core::egress::{HostRule, Rules};
use bottle_core::slug::Slug;
use inbox::{Decision, Inbox, Wish};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// The longest text of an agent's, in characters: what a person can read.
const MAX_TEXT: usize = 4000;
/// How long a call waits that does not say, and at most, in seconds.
const PATIENCE: u32 = 300;
const MAX_PATIENCE: u32 = 3600;

/// The supervise sidecar of one bottle.
pub struct Supervise {
    slug: Slug,
    /// What waits for a person.
    pub inbox: Inbox,
    status: Mutex<Option<String>>,
    rules: Box<dyn Fn() -> Rules + Send + Sync>,
    audit: Audit,
    room: Room,
}

/// Asks for a host.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct RequestHost {
    /// The host to reach: example.com, *.example.com, or example.com:8443
    pub host: String,
    /// What it is needed for, for the operator to read
    pub reason: String,
    /// How many seconds to wait for a decision [default: 300, at most 3600]
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
    /// How many seconds to wait for an answer [default: 300, at most 3600]
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Reports.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What the agent is doing now, in a sentence or two
    pub status: String,
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Outcome {
    /// What was decided
    pub decision: Word,
    /// The operator's answer, or why not
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// What was decided, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Yes: the host can be reached now, or here is the answer
    Approved,
    /// No
    Refused,
    /// Nothing yet: the request stays before the operator, and asking again waits on
    Undecided,
    /// It was taken down
    Noted,
}

impl Supervise {
    /// One for a bottle. `rules` are the egress proxy's.
    pub fn new(
        slug: Slug,
        rules: impl Fn() -> Rules + Send + Sync + 'static,
        audit: Audit,
        limits: Limits,
    ) -> Arc<Self> {
        // A call that waits is idle, and is meant to be.
        let idle_seconds = limits.idle_seconds.max(MAX_PATIENCE + 60);
        let room = Room::new(Limits { idle_seconds, ..limits });
        let (inbox, status) = (Inbox::default(), Mutex::default());
        Arc::new(Self { slug, inbox, status, rules: Box::new(rules), audit, room })
    }

    /// Serves a door until its listener fails.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener) {
        let (supervise, mcp) = (Arc::clone(self), mcp::service(Arc::clone(self)));
        http::serve(listener, &self.room, move |request| {
            let (supervise, mcp) = (Arc::clone(&supervise), mcp.clone());
            async move {
                Ok(if request.uri().path() == mcp::PATH {
                    mcp.handle(request).await
                } else {
                    plain::answer(&supervise, request).await
                })
            }
        })
        .await;
    }

    /// What the agent said last about what it does.
    pub fn status(&self) -> Option<String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn request_host(&self, request: RequestHost) -> Result<Outcome, String> {
        let rule: HostRule = request.host.parse().map_err(|error| format!("host: {error}"))?;
        let reason = readable("reason", &request.reason)?;
        if (self.rules)().allow.contains(&rule) {
            return Ok(Outcome { decision: Word::Approved, says: Some("it was allowed already".to_owned()) });
        }
        self.wait("host", Wish::Host { rule, reason }, request.wait_seconds).await
    }

    async fn ask(&self, ask: Ask) -> Result<Outcome, String> {
        let question = readable("question", &ask.question)?;
        self.wait("question", Wish::Question { question }, ask.wait_seconds).await
    }

    fn report(&self, report: &Report) -> Result<Outcome, String> {
        let status = readable("status", &report.status)?;
        self.audit.write("supervise", "report", json!({ "status": status }));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        Ok(Outcome { decision: Word::Noted, says: None })
    }

    async fn wait(&self, kind: &str, wish: Wish, seconds: Option<u32>) -> Result<Outcome, String> {
        let patience = Duration::from_secs(seconds.unwrap_or(PATIENCE).min(MAX_PATIENCE).into());
        self.audit.write("supervise", "asked", json!({ "kind": kind, "wish": wish }));
        match self.inbox.ask(wish, patience).await {
            Ok(Some(Decision { approved, says })) => {
                Ok(Outcome { decision: if approved { Word::Approved } else { Word::Refused }, says })
            }
            Ok(None) => Ok(Outcome { decision: Word::Undecided, says: None }),
            Err(full) => Err(full.to_string()),
        }
    }
}

fn readable(what: &str, text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length == 0 || text.trim().is_empty() {
        return Err(format!("{what} is empty"));
    }
    if length > MAX_TEXT {
        return Err(format!("{what} has {length} characters; a person reads {MAX_TEXT} at most"));
    }
    Ok(text.to_owned())
}
