//! supervise: where the agent asks its operator for something.
//!
//! The same three tools over MCP (streamable HTTP, at `/mcp`) and as plain HTTP (`POST /ask`). A call
//! waits, as long as it chose to, for what a person decides with `bottle approve` or `bottle refuse`.
//! What the agent says is shown to that person, escaped, and never run.

pub mod inbox;
mod mcp;
mod plain;

use crate::http::{self, Answers, Room};
use bottle_core::egress::{HostRule, Rules};
use bottle_core::slug::Slug;
use bottle_core::specification::Limits;
use bottle_host::audit::Audit;
use bottle_host::control::{AgentRequest, Decision};
use bottle_host::defence::Defence;
use inbox::{Inbox, Numbers};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
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
    /// How many more calls are taken now.
    calls: Mutex<Calls>,
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
        numbers: Numbers,
        rules: impl Fn() -> Rules + Send + Sync + 'static,
        audit: Audit,
        limits: Limits,
    ) -> Arc<Self> {
        // A call that waits is idle, and is meant to be.
        let idle_seconds = limits.idle_seconds.max(MAX_PATIENCE + 60);
        let limits = Limits { idle_seconds, ..limits };
        let room = Room::new(limits, audit.clone(), "supervise", Answers::Own);
        let (inbox, status) = (Inbox::new(numbers), Mutex::default());
        let calls = Mutex::new(Calls::new(Instant::now()));
        Arc::new(Self { slug, inbox, calls, status, rules: Box::new(rules), audit, room })
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

    /// Whether another call is taken. An agent that asks without end keeps nobody from reading.
    fn may_call(&self, tool: &'static str) -> Result<(), String> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.take(Instant::now()) || !Defence::CountedRefusals.stands() {
            return Ok(());
        }
        drop(calls);
        let why = "too many requests: at most one in a second";
        self.audit.caused("supervise", "refused", "rate", tool, json!({ "kind": tool, "why": why }));
        Err(why.to_owned())
    }

    async fn request_host(&self, request: RequestHost) -> Result<Outcome, String> {
        self.may_call("host")?;
        let rule: HostRule = request.host.parse().map_err(|error| format!("host: {error}"))?;
        let reason = readable("reason", &request.reason)?;
        if (self.rules)().allow.contains(&rule) {
            return Ok(Outcome { decision: Word::Approved, says: Some("it was allowed already".to_owned()) });
        }
        self.wait("host", AgentRequest::Host { rule, reason }, request.wait_seconds).await
    }

    async fn ask(&self, ask: Ask) -> Result<Outcome, String> {
        self.may_call("question")?;
        let question = readable("question", &ask.question)?;
        self.wait("question", AgentRequest::Question { question }, ask.wait_seconds).await
    }

    fn report(&self, report: &Report) -> Result<Outcome, String> {
        self.may_call("report")?;
        let status = readable("status", &report.status)?;
        self.audit.caused("supervise", "report", "", "", json!({ "status": status }));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        Ok(Outcome { decision: Word::Noted, says: None })
    }

    async fn wait(
        &self,
        kind: &'static str,
        request: AgentRequest,
        seconds: Option<u32>,
    ) -> Result<Outcome, String> {
        let patience = Duration::from_secs(seconds.unwrap_or(PATIENCE).min(MAX_PATIENCE).into());
        self.audit.caused("supervise", "asked", "", kind, json!({ "kind": kind, "wish": request }));
        match self.inbox.ask(request, patience).await {
            Ok(Some(Decision { approved, says })) => {
                Ok(Outcome { decision: if approved { Word::Approved } else { Word::Refused }, says })
            }
            Ok(None) => Ok(Outcome { decision: Word::Undecided, says: None }),
            Err(full) => Err(full.to_string()),
        }
    }
}

/// How many calls an agent may make: many at once, and then one in a second.
#[derive(Debug)]
struct Calls {
    left: u32,
    filled: Instant,
}

impl Calls {
    const MOST: u32 = 100;
    const EVERY: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> Self {
        Self { left: Self::MOST, filled: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.left < Self::MOST && now.saturating_duration_since(self.filled) >= Self::EVERY {
            self.left += 1;
            self.filled += Self::EVERY;
        }
        if self.left == Self::MOST {
            self.filled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
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
