//! Fetches one part of an image.

use crate::limits::Limits;
use crate::manifest::Part;
use crate::name::Name;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};
use crate::registry::Registry;
use crate::store::{Partial, Store};
use bottle_core::text::ImageDigest;
use std::collections::BTreeMap;
use tokio::time::sleep;

/// An image that is being fetched.
pub(super) struct Pull<'p> {
    pub(super) store: &'p Store,
    pub(super) name: &'p Name,
    pub(super) registry: Registry<'p>,
    pub(super) limits: Limits,
    pub(super) progress: &'p dyn Progress,
    /// How often each part was fetched again that was missing or damaged.
    pub(super) again: BTreeMap<ImageDigest, u32>,
}

impl Pull<'_> {
    /// Fetches a part, unless it is there, and returns its length. `before` is what the image has already, of
    /// `all` bytes.
    pub(super) async fn part(&mut self, what: &str, part: &Part, before: u64, all: u64) -> Result<u64> {
        let waits = || self.progress.step(&format!("waiting for another command that fetches {what}"));
        let Some(mut partial) = self.store.partial(&part.digest, waits)? else {
            self.progress.bytes(before + part.size, all);
            return Ok(part.size);
        };
        self.progress.step(&format!("fetching {what}"));
        let mut tries = Tries::new(self.limits);
        // What was put together from pieces may be wrong because of an earlier one, and is given up once.
        let (mut in_pieces, mut given_up) = (partial.length() > 0, false);
        loop {
            if partial.length() == part.size {
                if partial.is(&part.digest) {
                    break partial.finish()?;
                }
                if !in_pieces || given_up {
                    partial.discard();
                    let why = format!("something else than {}", part.digest);
                    return Err(Refusal::hostile(self.name.host(), why));
                }
                (in_pieces, given_up) = (false, true);
                partial.empty()?;
            }
            let had = partial.length();
            if let Err(error) = self.rest(part, &mut partial, before, all).await {
                if !error.is_passing() {
                    if matches!(error, Refusal::Hostile { .. }) {
                        partial.discard();
                    }
                    return Err(error);
                }
                if partial.length() >= had.saturating_add(self.limits.pace_bytes) {
                    tries = Tries::new(self.limits);
                }
                tries.again(error, self.progress).await?;
                in_pieces = true;
            }
        }
        Ok(part.size)
    }

    /// Fetches what is missing of a part.
    async fn rest(&mut self, part: &Part, partial: &mut Partial, before: u64, all: u64) -> Result<()> {
        // More than all of it is nothing of it.
        if partial.length() > part.size {
            partial.empty()?;
        }
        let mut sending = self.registry.part(part, partial.length()).await?;
        if sending.from != partial.length() {
            partial.empty()?;
        }
        while let Some(bytes) = sending.body.chunk().await? {
            if partial.length() + bytes.len() as u64 > part.size {
                let why = format!("more than the {} bytes of {} that it announced", part.size, part.digest);
                return Err(Refusal::hostile(self.name.host(), why));
            }
            partial.add(&bytes)?;
            self.progress.bytes(before + partial.length(), all);
        }
        if partial.length() < part.size {
            let why = format!("{} of {} bytes had arrived", partial.length(), part.size);
            return Err(Refusal::Broken(self.name.host().to_owned(), why));
        }
        Ok(())
    }
}

/// How often something is still tried.
pub(super) struct Tries {
    limits: Limits,
    made: u32,
}

impl Tries {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, made: 0 }
    }

    /// Waits before the next try, if there is one and it may help.
    pub(super) async fn again(&mut self, error: Refusal, progress: &dyn Progress) -> Result<()> {
        self.made += 1;
        if !error.is_passing() || self.made >= self.limits.tries {
            return Err(error);
        }
        progress.again(&error.to_string());
        sleep(self.limits.pause * 2_u32.pow(self.made - 1)).await;
        Ok(())
    }
}
