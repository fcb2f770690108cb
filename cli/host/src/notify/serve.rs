//! The notifier, and a keeper's connection to it.

use super::notice::Notice;
use super::run::run;
use crate::audit::Bucket;
use crate::services;
use crate::starter::wire;
use crate::state::Home;
use anyhow::Result;
use bottle_core::slug::Slug;
use rustix::fs::{OFlags, fcntl_setfl};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many notices are told at once.
const AT_ONCE: u32 = 20;
/// How soon one more is. A guest can cause one a second.
const EVERY: Duration = Duration::from_secs(15);

/// A keeper's connection to its notifier.
#[derive(Debug)]
pub struct Notifier(Option<OwnedFd>);

impl Notifier {
    /// Connects to the notifier at the other end of a socket. Without one, nobody is told anything.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be made to never block.
    pub fn at(socket: Option<OwnedFd>) -> Result<Self> {
        if let Some(socket) = &socket {
            fcntl_setfl(socket, OFlags::NONBLOCK)?;
        }
        Ok(Self(socket))
    }

    /// Tells a person. It never waits: while the command runs, some notices are kept, and further ones are lost.
    pub fn tell(&self, notice: &Notice) {
        if let Some(socket) = &self.0 {
            let _ = wire::send(socket, notice, &[]);
        }
    }
}

/// Runs a bottle's notifier until its keeper ends. If the keeper did not say that it ends, that is told, too.
///
/// # Errors
/// Returns an error if the bottle has no list of services.
pub fn serve(slug: &Slug, socket: &OwnedFd) -> Result<()> {
    let words = services::read(&Home::find()?.bottle(slug))?.notify;
    let mut bucket = Bucket::new(AT_ONCE, EVERY, Instant::now());
    let tell = |notice: &Notice| {
        if let Err(error) = run(&words, slug, notice) {
            crate::out::note(format_args!("{error:#}"));
        }
    };
    while let Ok(Some((notice, _))) = wire::receive::<Notice>(socket) {
        if notice == Notice::KeeperEnds {
            return Ok(());
        }
        if bucket.has(1, Instant::now()) {
            bucket.take(1);
            tell(&notice);
        }
    }
    tell(&Notice::KeeperDied);
    Ok(())
}
