//! What the process that holds the keys knows.

use super::found::{Found, Headers};
use super::logins::Logins;
use super::passed::Secrets;
use super::renewal::{Renew, Renewal};
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
use zeroize::Zeroizing;

/// How long to wait after a key could not be renewed.
const PAUSE: Duration = Duration::from_secs(30);
/// How many keys are looked for in answers: an origin may accept an old one for a while.
const REMEMBERED: usize = 64;

/// The upstreams and their keys, and the parent proxy with its login.
pub struct KeyHolder {
    pub upstreams: Vec<Upstream>,
    /// The parent proxies.
    pub logins: Logins,
    pub tls: TlsConnector,
    /// The headers with the keys, in the order of the upstreams.
    current: Vec<Mutex<Current>>,
    /// Every key, without its header's prefix.
    keys: RwLock<Secrets>,
    renewal: Option<Mutex<Renewal>>,
}

/// The headers of an upstream, as they are now.
#[derive(Clone)]
pub struct Current {
    pub headers: Headers,
    ends: Option<Instant>,
    /// How often they were renewed.
    pub generation: u64,
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
            renewal,
        };
        for (index, upstream) in holder.upstreams.iter().enumerate() {
            let found = match &holder.renewal {
                Some(renewal) if upstream.is_renewed() => {
                    renewal.lock().await.ask(Renew { upstream: index, refused: false }).await?
                }
                _ => secrets::headers(upstream).await?,
            };
            let mut current = Current { headers: Headers::default(), ends: None, generation: 0 };
            holder.take(&mut current, &found)?;
            holder.current.push(Mutex::new(current));
        }
        Ok(holder)
    }

    /// Returns every key, to look for them in answers.
    pub fn keys(&self) -> Secrets {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether the keys of an upstream are renewed.
    pub fn is_renewed(&self, upstream: usize) -> bool {
        self.renewal.is_some() && self.upstreams.get(upstream).is_some_and(Upstream::is_renewed)
    }

    /// Returns the headers for a request to an upstream. If they end now, they are renewed first.
    pub async fn headers(&self, upstream: usize) -> Result<Current> {
        let current = self.current.get(upstream);
        let mut current = current.with_context(|| format!("there is no upstream {upstream}"))?.lock().await;
        if current.ends.is_some_and(|ends| ends <= Instant::now()) {
            self.renew(upstream, &mut current, false).await;
        }
        Ok(current.clone())
    }

    /// Returns other headers than those of a generation that an origin has refused, if there are any.
    pub async fn others(&self, upstream: usize, refused: u64) -> Option<Current> {
        let mut current = self.current.get(upstream).filter(|_| self.is_renewed(upstream))?.lock().await;
        if current.generation == refused {
            self.renew(upstream, &mut current, true).await;
        }
        (current.generation != refused).then(|| current.clone())
    }

    /// Renews the headers of an upstream. If that fails, the last ones stay.
    async fn renew(&self, upstream: usize, current: &mut Current, refused: bool) {
        let Some(renewal) = &self.renewal else { return };
        let found = renewal.lock().await.ask(Renew { upstream, refused }).await;
        if let Err(error) = found.and_then(|found| self.take(current, &found)) {
            out::note(format_args!("keys: {error:#}"));
            current.ends = current.ends.map(|_| Instant::now() + PAUSE);
        }
    }

    fn take(&self, current: &mut Current, found: &Found) -> Result<()> {
        current.headers = found.headers()?;
        current.ends = found.lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        current.generation += 1;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Vec<u8>> = found.secrets().chain(keys.iter().cloned()).collect();
        all.dedup();
        all.truncate(REMEMBERED);
        *keys = Arc::new(Zeroizing::new(all));
        Ok(())
    }
}
