//! The three tools, whichever way they are called.

use super::inbox::{Inbox, Numbers};
use super::messages::{Ask, Outcome, Report, RequestHost, Word};
use super::rate::Calls;
use crate::http::{Answers, Room};
use bottle_core::egress::{HostRule, Rules};
use bottle_core::slug::Slug;
use bottle_core::specification::Limits;
use bottle_host::audit::Audit;
use bottle_host::control::{AgentRequest, Decision};
use bottle_host::defence::Defence;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest text of an agent's, in characters: what a person can read.
const MAX_TEXT: usize = 4000;
/// How long a call waits that does not say, and at most, in seconds.
const PATIENCE: u32 = 300;
const MAX_PATIENCE: u32 = 3600;

/// The supervise sidecar of one bottle.
pub struct Supervise {
    pub(super) slug: Slug,
    /// What waits for a person.
    pub inbox: Inbox,
    /// How many more calls are taken now.
    calls: Mutex<Calls>,
    status: Mutex<Option<String>>,
    rules: Box<dyn Fn() -> Rules + Send + Sync>,
    audit: Audit,
    pub(super) room: Room,
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

    pub(super) async fn request_host(&self, request: RequestHost) -> Result<Outcome, String> {
        self.may_call("host")?;
        let rule: HostRule = request.host.parse().map_err(|error| format!("host: {error}"))?;
        let reason = readable("reason", &request.reason)?;
        if (self.rules)().allow.contains(&rule) {
            return Ok(Outcome { decision: Word::Approved, says: Some("it was allowed already".to_owned()) });
        }
        self.wait("host", AgentRequest::Host { rule, reason }, request.wait_seconds).await
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Outcome, String> {
        self.may_call("question")?;
        let question = readable("question", &ask.question)?;
        self.wait("question", AgentRequest::Question { question }, ask.wait_seconds).await
    }

    pub(super) fn report(&self, report: &Report) -> Result<Outcome, String> {
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
