//! The egress proxy's state: its rules, its clients, and its log.

use super::carry::Carrier;
use super::dial::{Chooser, DialError, Dialer};
use super::open::OpenConnections;
use super::parent::ParentWay;
use super::pool::pooled;
use super::reply::{self, Body};
use super::upstreams::Upstreams;
use crate::http::{Answers, Server};
use crate::keys::Keys;
use bottle_core::egress::{Denial, HostName, HostRule, Rules};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::specification::Limits;
use bottle_host::audit::{self, Audit};
use bottle_host::defence::Defence;
use bottle_host::rules::Change;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use hyper_util::client::legacy::Client;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;

/// The egress proxy's name in the log.
const PART: &str = "pipelock";
/// How long connections may take to close when the keeper stops.
const CLOSING: Duration = Duration::from_millis(500);

/// The egress proxy of one bottle.
pub struct EgressProxy {
    slug: Slug,
    rules: Arc<RwLock<Rules>>,
    /// The rules that are only there for a while.
    lent: Mutex<Vec<HostRule>>,
    pub(super) audit: Audit,
    pub(super) client: Client<Carrier, Incoming>,
    pub(super) dialer: Dialer,
    open: OpenConnections<Chooser>,
    pub(super) upstreams: Upstreams,
    pub(super) server: Server,
}

impl EgressProxy {
    /// Creates the egress proxy of a plan. `keys` connects it to the process that holds the keys of its
    /// upstreams and the login of its parent proxy. `tls` opens the connections for requests that ask for https
    /// without a tunnel.
    pub fn new(
        plan: &Plan,
        limits: Limits,
        audit: Audit,
        keys: Option<&Keys>,
        tls: Option<TlsConnector>,
    ) -> Arc<Self> {
        let rules = Arc::new(RwLock::new(plan.egress.clone()));
        let open = OpenConnections::default();
        let parent = plan.parent.as_ref().map(|parent| ParentWay::new(parent, keys.cloned()));
        let dialer = |chooser| Dialer::new(Arc::clone(&rules), chooser, open.clone(), parent.clone());
        let idle = Duration::from_secs(limits.idle_seconds.into());
        let upstreams = Upstreams::new(plan.upstreams.clone(), &dialer(Chooser::Operator), idle, keys);
        let dialer = dialer(Chooser::Agent);
        let client = pooled(Carrier::new(dialer.clone(), tls, idle));
        let server = Server::new(limits, audit.clone(), PART, Answers::Passed);
        let slug = plan.slug.clone();
        let lent = Mutex::default();
        Arc::new(Self { slug, rules, lent, audit, client, dialer, open, upstreams, server })
    }

    /// Returns the current rules.
    pub fn rules(&self) -> Rules {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies a change of the rules, and at once closes every connection that the new rules deny: tunnels,
    /// responses in progress and idle connections. The caller has already saved the change.
    pub fn change(&self, change: &Change) {
        let mut lent = self.lent();
        // From now on it is there to stay.
        if let Change::Allow(rule) = change {
            lent.retain(|known| known != rule);
        }
        let mut rules = self.rules();
        change.apply(&mut rules);
        self.follow(&rules);
    }

    /// Allows more hosts until the returned value is dropped. What is denied stays denied.
    pub fn lend(self: &Arc<Self>, rules: Vec<HostRule>) -> Lent {
        let mut lent = self.lent();
        let mut now = self.rules();
        // Somebody else may have lent the same, and takes it back first.
        let new: Vec<HostRule> = rules.into_iter().filter(|rule| !now.allow.contains(rule)).collect();
        now.allow.extend(new.iter().cloned());
        lent.extend(new.iter().cloned());
        self.follow(&now);
        Lent { proxy: Arc::clone(self), rules: new }
    }

    fn take_back(&self, rules: &[HostRule]) {
        let mut lent = self.lent();
        let mut now = self.rules();
        let is_over = |rule: &HostRule| rules.contains(rule) && lent.contains(rule);
        now.allow.retain(|rule| !is_over(rule));
        lent.retain(|rule| !rules.contains(rule));
        self.follow(&now);
    }

    fn lent(&self) -> MutexGuard<'_, Vec<HostRule>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, rules: &Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        if !Defence::DenyCloses.stands() {
            return;
        }
        let closed =
            self.open.close("a rule closed it", |to| to.chooser.check(rules, &to.host, to.port).is_err());
        if closed > 0 {
            self.audit.write(PART, "closed", json!({ "connections": closed, "why": "a rule changed" }));
        }
    }

    /// Closes every connection, and waits briefly so that tunnels can log their byte counts.
    pub async fn close(&self) {
        self.open.close("the keeper stopped", |_| true);
        let end = Instant::now() + CLOSING;
        while !self.open.is_empty() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Logs that a response was cut off because it contained the upstream's key.
    pub fn log_key_found(&self, request: &str) {
        let why = "the response contained the upstream's key";
        self.log("refused", "key", "", json!({ "request": request, "why": why }));
    }

    /// Logs the outcome of a request. `destination` is a host, or a path on the door itself.
    pub(super) fn log(&self, event: &'static str, reason: &'static str, destination: &str, details: Value) {
        self.audit.caused(PART, event, reason, destination, details);
    }

    /// Watches a request that has no response yet, and logs it if the client gives up.
    pub(super) fn begun<'a>(&'a self, what: &'a str, host: &'a HostName) -> Begun<'a> {
        Begun { proxy: self, what, host, since: Instant::now(), answered: false }
    }

    /// Refuses a request, and logs the refusal.
    pub(super) fn refuse(&self, what: &str, denial: &Denial) -> Response<Body> {
        let host = denial.host().map(ToString::to_string).unwrap_or_default();
        self.log("refused", denial.name(), &host, json!({ "request": what, "why": denial.to_string() }));
        reply::denied(&self.slug, denial)
    }

    /// Rejects a malformed request, and logs it.
    pub(super) fn reject(
        &self,
        what: &str,
        reason: &'static str,
        status: StatusCode,
        why: &str,
    ) -> Response<Body> {
        if Defence::RefusalsLogged.stands() {
            self.log(
                "refused",
                reason,
                "",
                json!({ "request": what, "why": why, "status": status.as_u16() }),
            );
        }
        reply::text(status, format!("bottle: {why}"))
    }

    /// Reports to the agent that a request got no response, and logs it.
    pub(super) fn no_answer(
        &self,
        what: &str,
        host: &HostName,
        error: &hyper_util::client::legacy::Error,
    ) -> Response<Body> {
        let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
        let whys: Vec<_> = sources.collect();
        let dial = whys.iter().find_map(|error| error.downcast_ref::<DialError>());
        if let Some(DialError::Denied(denial)) = dial {
            return self.refuse(what, denial);
        }
        let why = whys.last().map_or_else(|| error.to_string(), ToString::to_string);
        self.log("failed", "", host.as_str(), json!({ "request": what, "why": why }));
        match dial {
            Some(error) => reply::unreachable(error),
            None => reply::text(StatusCode::BAD_GATEWAY, format!("bottle: {host} broke off: {why}")),
        }
    }
}

/// Hosts that are allowed for as long as this value lives.
pub struct Lent {
    proxy: Arc<EgressProxy>,
    rules: Vec<HostRule>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.proxy.take_back(&self.rules);
    }
}

/// A request that has no response yet.
pub struct Begun<'a> {
    proxy: &'a EgressProxy,
    what: &'a str,
    host: &'a HostName,
    since: Instant,
    answered: bool,
}

impl Begun<'_> {
    /// Ends the watch, because there is a response or a reason for having none.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let ms = audit::millis(self.since.elapsed());
            let why = "the client gave up before there was a response";
            self.proxy.log(
                "failed",
                "",
                self.host.as_str(),
                json!({ "request": self.what, "why": why, "ms": ms }),
            );
        }
    }
}
