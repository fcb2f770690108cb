//! What the process that holds the keys knows.

use super::budget::Budget;
use super::found::{Found, Headers};
use super::known::KnownKeys;
use super::logins::Logins;
use super::passed::Secrets;
use super::refusals::Refusals;
use super::renewal::Renewal;
use super::secrets;
use crate::tls::{self, TlsConnector};
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::upstream::Upstream;
use bottle_host::out;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long to wait after a key could not be renewed.
const PAUSE: Duration = Duration::from_secs(30);

/// The upstreams and their keys, and the parent proxy with its login.
pub struct KeyHolder {
    pub upstreams: Vec<Upstream>,
    /// The parent proxies.
    pub logins: Logins,
    pub tls: TlsConnector,
    /// The headers with the keys, in the order of the upstreams.
    current: Vec<Mutex<Current>>,
    /// Every key, without its header's prefix.
    keys: RwLock<KnownKeys>,
    /// Room for the bodies of requests that may be made again.
    pub kept: Budget,
    renewal: Option<Mutex<Renewal>>,
}

/// The headers of an upstream, as they are now.
#[derive(Clone, Default)]
pub struct Current {
    pub headers: Headers,
    ends: Option<Instant>,
    refusals: Refusals,
    /// How often they were renewed, and how often that was tried.
    generation: u64,
    tried: u64,
}

impl KeyHolder {
    /// Finds every key of a plan. `renewal` is the socket to the process that finds keys anew, if one of them ends.
    pub async fn find(plan: Plan, renewal: Option<OwnedFd>) -> Result<Self> {
        let renewal = renewal.map(Renewal::at).transpose()?.map(Mutex::new);
        let logins = Logins::find(plan.parent.as_ref()).await?;
        let mut holder = Self {
            upstreams: plan.upstreams,
            logins,
            tls: tls::connector()?,
            current: Vec::new(),
            keys: RwLock::default(),
            kept: Budget::default(),
            renewal,
        };
        for (index, upstream) in holder.upstreams.iter().enumerate() {
            let found = match &holder.renewal {
                Some(renewal) if upstream.is_renewed() => renewal.lock().await.ask(index, false).await?,
                _ => secrets::headers(upstream).await?,
            };
            let mut current = Current::default();
            holder.take(index, &mut current, &found)?;
            holder.current.push(Mutex::new(current));
        }
        Ok(holder)
    }

    /// Returns every key, to look for them in answers.
    pub fn keys(&self) -> Secrets {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Returns whether the keys of an upstream are renewed.
    pub fn is_renewed(&self, upstream: usize) -> bool {
        self.renewal.is_some() && self.upstreams.get(upstream).is_some_and(Upstream::is_renewed)
    }

    /// Returns the headers for a request to an upstream. If they end now, they are renewed first.
    pub async fn headers(self: &Arc<Self>, upstream: usize) -> Result<Current> {
        let current = self.current(upstream)?.lock().await;
        if !current.have_ended() {
            return Ok(current.clone());
        }
        drop(current);
        self.renewed(upstream, None).await
    }

    /// Returns other headers than those that an origin has refused, if there are any.
    pub async fn others(self: &Arc<Self>, upstream: usize, refused: &Current) -> Option<Current> {
        if !self.is_renewed(upstream) {
            return None;
        }
        let current = self.renewed(upstream, Some(refused.tried)).await.ok()?;
        (current.generation != refused.generation).then_some(current)
    }

    fn current(&self, upstream: usize) -> Result<&Mutex<Current>> {
        self.current.get(upstream).with_context(|| format!("there is no upstream {upstream}"))
    }

    /// Renews the headers of an upstream, unless somebody else has just tried. A client that gives up meanwhile does not
    /// end this: the next one finds what was renewed.
    async fn renewed(self: &Arc<Self>, upstream: usize, refused: Option<u64>) -> Result<Current> {
        let holder = Arc::clone(self);
        let renewing = tokio::spawn(async move {
            let mut current = holder.current(upstream)?.lock().await;
            let is_wanted = match refused {
                None => current.have_ended(),
                Some(tried) => current.tried == tried && current.refusals.take(),
            };
            if is_wanted {
                holder.renew(upstream, &mut current, refused.is_some()).await;
            }
            Ok(current.clone())
        });
        renewing.await?
    }

    /// Renews the headers of an upstream. If that fails, the last ones stay.
    async fn renew(&self, upstream: usize, current: &mut Current, refused: bool) {
        let Some(renewal) = &self.renewal else { return };
        current.tried += 1;
        let found = renewal.lock().await.ask(upstream, refused).await;
        if let Err(error) = found.and_then(|found| self.take(upstream, current, &found)) {
            out::note(format_args!("keys: {error:#}"));
            current.ends = current.ends.map(|_| Instant::now() + PAUSE);
        }
    }

    fn take(&self, upstream: usize, current: &mut Current, found: &Found) -> Result<()> {
        current.headers = found.headers()?;
        current.ends = found.lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        current.generation += 1;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.replace(upstream, found.secrets().collect());
        Ok(())
    }
}

impl Current {
    fn have_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }
}
