//! The built-in egress proxy behind the `pipelock` door: HTTP/1.1, CONNECT and absolute-form,
//! default deny.
//!
//! What may leave is decided by `bottle_core::egress`; this carries it out. It dials the address
//! that it checked, so a name that changes its mind in between gains nothing.

mod dial;
mod plain;
mod reply;
mod tunnel;
mod upstream;

use crate::http::{self, Limits, Room};
use crate::keeper::audit::{Audit, UNRECORDED};
use crate::keys::Keys;
use crate::rules::Change;
use bottle_core::egress::{Denial, HostName, Rules};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use dial::{Chooser, DialError, Dialer};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reply::Body;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use upstream::Upstreams;

/// Connections to one upstream that are kept for the next request.
const IDLE_PER_HOST: usize = 64;

/// The egress proxy of one bottle.
pub struct Proxy {
    slug: Slug,
    rules: Arc<RwLock<Rules>>,
    audit: Audit,
    client: Client<Dialer, Incoming>,
    dialer: Dialer,
    upstreams: Upstreams,
    room: Room,
}

impl Proxy {
    /// The proxy of a plan. What its upstreams are asked with, `keys` has.
    pub fn new(plan: &Plan, limits: Limits, audit: Audit, keys: Option<&Keys>) -> Arc<Self> {
        let rules = Arc::new(RwLock::new(plan.egress.clone()));
        let dialer = Dialer::new(Arc::clone(&rules), Chooser::Agent);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(dialer.clone());
        let upstreams = Upstreams::new(plan.upstreams.clone(), &rules, keys);
        let (slug, room) = (plan.slug.clone(), Room::new(limits));
        Arc::new(Self { slug, rules, audit, client, dialer, upstreams, room })
    }

    /// The rules now.
    pub fn rules(&self) -> Rules {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the rules, from now on.
    pub fn change(&self, change: &Change) {
        change.apply(&mut self.rules.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Serves a door until its listener fails, as it does when its jail ends.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener) {
        let proxy = Arc::clone(self);
        http::serve(listener, &self.room, move |request| Self::answer(Arc::clone(&proxy), request)).await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        if !self.audit.may_allow() {
            let what = format!("{} {}", request.method(), request.uri().path());
            self.log("refused", json!({ "request": what, "reason": "log", "why": UNRECORDED }));
            return Ok(reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("bottle: {UNRECORDED}")));
        }
        Ok(if request.method() == Method::CONNECT {
            tunnel::open(&self, request).await
        } else if request.uri().authority().is_some() {
            plain::forward(&self, request).await
        } else {
            upstream::ask(&self, request).await
        })
    }

    fn log(&self, event: &'static str, details: Value) {
        self.audit.write("pipelock", event, details);
    }

    /// Refuses a request, in the log and to the agent.
    fn refuse(&self, what: &str, denial: &Denial) -> Response<Body> {
        self.log("refused", json!({ "request": what, "reason": denial.name(), "why": denial.to_string() }));
        reply::denied(&self.slug, denial)
    }

    /// Says that a request has no answer, in the log and to the agent.
    fn no_answer(
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
        self.log("failed", json!({ "request": what, "why": why }));
        match dial {
            Some(error) => reply::unreachable(error),
            None => reply::text(StatusCode::BAD_GATEWAY, format!("bottle: {host} broke off: {why}")),
        }
    }
}
