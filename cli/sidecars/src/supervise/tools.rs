//! The tools, independent of whether they are called over MCP or plain HTTP.

use super::inbox::{Inbox, Numbers, Refused, Reply};
use super::messages::{Ask, Outcome, Report, RequestHost, Resume, Word};
use super::rate::Calls;
use crate::egress::public_suffix;
use crate::http::{Answers, Server};
use bottle_core::egress::{HostRule, Rules};
use bottle_core::slug::Slug;
use bottle_core::specification::Limits;
use bottle_host::audit::Audit;
use bottle_host::control::{AgentRequest, Decision, Waiting};
use bottle_host::defence::Defence;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest text that an agent may send, in characters. A person has to read it.
const MAX_TEXT: usize = 4000;
/// How many seconds a call waits if it does not say.
const PATIENCE: u32 = 50;
/// How many seconds a call may wait at most.
const MAX_PATIENCE: u32 = 3600;

/// What an agent is told whose call ends before the decision.
const PENDING: &str =
    "your operator has not decided yet, and still can: go on, and ask for the decision later, with this id";

/// The supervise sidecar of one bottle.
pub struct Supervise {
    pub(super) slug: Slug,
    /// The requests that wait for a person.
    pub inbox: Inbox,
    /// How many more calls are accepted now.
    calls: Mutex<Calls>,
    status: Mutex<Option<String>>,
    rules: Box<dyn Fn() -> Rules + Send + Sync>,
    audit: Audit,
    pub(super) server: Server,
}

impl Supervise {
    /// Creates the supervise sidecar of a bottle. `rules` returns the egress proxy's current rules, and
    /// `asked` is called with each new request.
    pub fn new(
        slug: Slug,
        numbers: Numbers,
        rules: impl Fn() -> Rules + Send + Sync + 'static,
        audit: Audit,
        limits: Limits,
        asked: impl Fn(&Waiting) + Send + Sync + 'static,
    ) -> Arc<Self> {
        // A call that waits for a person is idle by design.
        let idle_seconds = limits.idle_seconds.max(MAX_PATIENCE + 60);
        let limits = Limits { idle_seconds, ..limits };
        let server = Server::new(limits, audit.clone(), "supervise", Answers::Own);
        let (inbox, status) = (Inbox::new(numbers, asked), Mutex::default());
        let calls = Mutex::new(Calls::new(Instant::now()));
        Arc::new(Self { slug, inbox, calls, status, rules: Box::new(rules), audit, server })
    }

    /// Returns the agent's last report.
    pub fn status(&self) -> Option<String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks whether another call is accepted. The limit keeps an agent from flooding its operator.
    fn may_call(&self, tool: &'static str) -> Result<(), String> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.take(Instant::now()) || !Defence::CountedRefusals.stands() {
            return Ok(());
        }
        drop(calls);
        let why = "too many requests: at most one a second";
        self.audit.caused("supervise", "refused", "rate", tool, json!({ "kind": tool, "why": why }));
        Err(why.to_owned())
    }

    pub(super) async fn request_host(&self, request: RequestHost) -> Result<Outcome, String> {
        self.may_call("host")?;
        let rule: HostRule = request.host.parse().map_err(|error| format!("host: {error}"))?;
        let reason = readable("reason", &request.reason)?;
        // Nobody could approve it, so nobody is asked.
        if let Err(wide) = public_suffix::check_named(&rule.pattern) {
            let why = wide.to_string();
            self.audit.caused(
                "supervise",
                "refused",
                "public-suffix",
                "host",
                json!({ "kind": "host", "why": why }),
            );
            return Err(format!("host: {wide}; {}", wide.help()));
        }
        if (self.rules)().opens(&rule) {
            let says = Some("it was allowed already".to_owned());
            return Ok(Outcome { decision: Word::Approved, id: None, says });
        }
        self.wait("host", AgentRequest::Host { rule, reason }, request.wait_seconds).await
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Outcome, String> {
        self.may_call("question")?;
        let question = readable("question", &ask.question)?;
        self.wait("question", AgentRequest::Question { question }, ask.wait_seconds).await
    }

    pub(super) async fn decision(&self, resume: Resume) -> Result<Outcome, String> {
        self.may_call("decision")?;
        replied(self.inbox.resume(resume.id, patience(resume.wait_seconds)).await)
    }

    pub(super) fn report(&self, report: &Report) -> Result<Outcome, String> {
        self.may_call("report")?;
        let status = readable("status", &report.status)?;
        self.audit.caused("supervise", "report", "", "", json!({ "status": status }));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        Ok(Outcome { decision: Word::Noted, id: None, says: None })
    }

    async fn wait(
        &self,
        kind: &'static str,
        request: AgentRequest,
        seconds: Option<u32>,
    ) -> Result<Outcome, String> {
        self.audit.caused("supervise", "asked", "", kind, json!({ "kind": kind, "wish": request }));
        replied(self.inbox.ask(request, patience(seconds)).await)
    }
}

/// Returns how long a call waits.
fn patience(seconds: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(PATIENCE).min(MAX_PATIENCE).into())
}

/// Says what a call for a decision got.
fn replied(reply: Result<Reply, Refused>) -> Result<Outcome, String> {
    let Reply { number, decision } = reply.map_err(|refused| refused.to_string())?;
    let (decision, says) = match decision {
        Some(Decision { approved: true, says }) => (Word::Approved, says),
        Some(Decision { approved: false, says }) => (Word::Refused, says),
        None => (Word::Undecided, Some(PENDING.to_owned())),
    };
    Ok(Outcome { decision, id: Some(number), says })
}

fn readable(what: &str, text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length == 0 || text.trim().is_empty() {
        return Err(format!("{what} is empty"));
    }
    if length > MAX_TEXT {
        return Err(format!("{what} has {length} characters; at most {MAX_TEXT} are accepted"));
    }
    Ok(text.to_owned())
}
