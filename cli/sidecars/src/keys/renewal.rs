//! The socket to the process that finds keys anew.

use super::found::Found;
use anyhow::{Context, Result, bail};
use bottle_core::slug::Slug;
use bottle_host::process::{die_with_parent, inherit};
use bottle_host::starter::wire;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::timeout;

/// How long it may take to find a key: a person may have to unlock something.
const PATIENCE: Duration = Duration::from_secs(75);

/// Find the headers of an upstream again.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Renew {
    pub upstream: usize,
    /// Whether the origin has refused the last ones.
    pub refused: bool,
}

/// What was found.
#[derive(Serialize, Deserialize)]
pub enum Renewed {
    Found(Found),
    Failed(String),
}

/// A connection to the process that finds keys anew.
pub struct Renewal {
    send: OwnedFd,
    receive: wire::Incoming,
    /// Whether an answer never came. It would be taken for the next one.
    is_lost: bool,
}

/// Starts that process, and returns the socket to it. It ends with this process.
///
/// # Errors
/// Returns an error if it cannot be started.
pub fn start(slug: &Slug) -> Result<OwnedFd> {
    let (ours, theirs) = wire::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("key-source").arg(slug.as_str());
    let number = inherit(&mut command, theirs.as_fd());
    command.arg("--fd").arg(number.to_string()).stdin(Stdio::null());
    die_with_parent(&mut command, Signal::KILL);
    // Nobody waits for it: it ends with this process, or its end is noticed on the socket.
    command.spawn().context("cannot start the process that finds keys")?;
    Ok(ours)
}

impl Renewal {
    /// Takes over the socket to that process.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be polled.
    pub fn at(socket: OwnedFd) -> Result<Self> {
        Ok(Self { send: socket.try_clone()?, receive: wire::Incoming::on(socket)?, is_lost: false })
    }

    /// Asks for the headers of an upstream.
    ///
    /// # Errors
    /// Returns why they cannot be found.
    pub async fn ask(&mut self, wanted: Renew) -> Result<Found> {
        if self.is_lost {
            bail!("the process that finds keys does not answer any more");
        }
        self.is_lost = true;
        wire::send(&self.send, &wanted, &[])?;
        let answered = timeout(PATIENCE, self.receive.next::<Renewed>()).await;
        let answered =
            answered.ok().with_context(|| format!("it took more than {} s", PATIENCE.as_secs()))?;
        let (renewed, _) = answered?.context("the process that finds keys has ended")?;
        self.is_lost = false;
        match renewed {
            Renewed::Found(found) => Ok(found),
            Renewed::Failed(why) => bail!(why),
        }
    }
}
