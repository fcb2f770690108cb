//! The process that finds keys anew: it runs commands and renews logins, which the process that holds the keys has given
//! up the right to do. It reads three numbers from that process, and nothing that a guest or a keeper wrote.

use super::found::{Found, Kind};
use super::login::{self, TokenService};
use super::renewal::{Outcome, Renew, Renewed};
use super::secrets;
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::upstream::{HeaderName, Login, Secret, SecretSource};
use bottle_host::starter::wire;
use bottle_host::state::Home;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Answers the process that holds the keys until it ends.
///
/// # Errors
/// Returns an error if it cannot be answered.
pub fn main(slug: &Slug, socket: &OwnedFd) -> Result<()> {
    let home = Home::find()?;
    let plan = home.bottle(slug).read_plan()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut source = Source { service: None, last: BTreeMap::new(), home, plan };
    while let Some((Renew { upstream, refused, number }, _)) = wire::receive(socket)? {
        let outcome = match runtime.block_on(source.renew(upstream, refused)) {
            Ok(found) => Outcome::Found(found),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        wire::send(socket, &Renewed { number, outcome }, &[])?;
    }
    Ok(())
}

struct Source {
    home: Home,
    plan: Plan,
    /// Made when it is needed first: many bottles have no login.
    service: Option<TokenService>,
    /// The token of each login that was given out last.
    last: BTreeMap<Login, String>,
}

impl Source {
    async fn renew(&mut self, upstream: usize, refused: bool) -> Result<Found> {
        let upstream = self.plan.upstreams.get(upstream).context("there is no such upstream")?.clone();
        let mut all = Found::default();
        for (name, secret) in &upstream.headers {
            let added = match &secret.source {
                SecretSource::Login(login) => self.add(&mut all, name, secret, *login, refused).await,
                _ => secrets::add(&mut all, name, secret).await,
            };
            added.with_context(|| secrets::described(&upstream, name, secret))?;
        }
        Ok(all)
    }

    async fn add(
        &mut self,
        all: &mut Found,
        name: &HeaderName,
        secret: &Secret,
        login: Login,
        refused: bool,
    ) -> Result<()> {
        let service = match &mut self.service {
            Some(service) => service,
            none => none.insert(TokenService::new(self.plan.parent.as_ref()).await?),
        };
        let last = self.last.get(&login).filter(|_| refused).cloned();
        let credential = login::current(&self.home, login, last.as_deref(), service).await?;
        let terms = login.terms();
        all.add(name.as_str(), &secret.prefix, &credential.access_token, Kind::Secret);
        if let Some((marker, value)) = terms.marker {
            all.add(marker, "", value, Kind::Added);
        }
        if let (Some(header), Some(account)) = (terms.account, &credential.account) {
            all.add(header, "", account, Kind::Plain);
        }
        all.ends_in(credential.lasts().filter(|lasts| *lasts != Duration::MAX));
        self.last.insert(login, credential.access_token.clone());
        Ok(())
    }
}
