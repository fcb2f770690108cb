//! Starting programs for a keeper that may start none.
//!
//! The keeper reads what a guest sends, so it has given up the right to run anything. This process
//! has not, and reads nothing of a guest's: it takes a closed set of requests ([`Ask`]) from its one
//! keeper, holds each to the plan that it read before there was a guest, and hands back descriptors.
//! It ends with its keeper, and what it started ends with it.

pub mod wire;

use crate::rules::Change;
use anyhow::{Context, Result, bail};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// What a keeper may ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Brings the quarantines up to what the user's own repositories have.
    Refresh,
    /// Starts the network stack, in place of the one before. It hands out the doors in the order of
    /// the plan, and the link.
    Stack,
    /// Starts a sidecar that is a command.
    Sidecar(Sidecar),
    /// Starts git for one request to git-gate. It hands out git's standard input and output, and the
    /// socket on which the hooks speak.
    Git(GitCall),
    /// Sends a push on that a rule allows.
    Forward {
        /// The repository.
        repo: Slug,
        /// The ref's whole name.
        name: String,
        /// The commit that was judged, unless it is deleted.
        commit: Option<String>,
    },
    /// Gives the guest's copy of the project to the user of its machine.
    Give {
        /// The user.
        uid: u32,
    },
    /// Remembers a change of the rules.
    Remember(Change),
}

/// One request to git-gate: everything of it that git is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GitCall {
    /// The repository.
    pub repo: Slug,
    /// What is wanted.
    pub service: GitService,
    /// The request's `Content-Type`.
    pub content_type: Option<String>,
    /// The request's `Content-Length`.
    pub content_length: Option<u64>,
    /// The request's `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The request's `Git-Protocol`.
    pub protocol: Option<String>,
}

/// What git-gate serves: git's smart protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitService {
    /// Which refs there are, for a fetch.
    FetchRefs,
    /// A fetch.
    Fetch,
    /// Which refs there are, for a push.
    PushRefs,
    /// A push.
    Push,
}

/// What is said of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It is done, or runs.
    Done,
    /// It is not, and why.
    Failed(String),
    /// What was started has ended, and how.
    Ended(String),
}

/// A keeper's way to its starter.
#[derive(Debug)]
pub struct Starter(OwnedFd);

/// What was started. It is ended when this value is dropped.
#[derive(Debug)]
pub struct Alive(OwnedFd);

impl Starter {
    /// One at the other end of a socket.
    pub fn at(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Another descriptor of the socket, to watch for its end.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn watched(&self) -> Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.0, 0)?)
    }

    /// Asks for something, and waits for it.
    ///
    /// # Errors
    /// Why it is not done.
    pub fn demand(&self, ask: &Ask) -> Result<()> {
        self.start(ask).map(|_| ())
    }

    /// Sends a push on.
    ///
    /// # Errors
    /// Why it is not sent on.
    pub fn forward(&self, repo: Slug, name: String, commit: Option<String>) -> Result<()> {
        self.demand(&Ask::Forward { repo, name, commit })
    }

    /// Asks for something that runs on, and waits until it does.
    ///
    /// # Errors
    /// Why it does not.
    pub fn start(&self, ask: &Ask) -> Result<(Alive, Vec<OwnedFd>)> {
        let socket = self.ask(ask)?;
        let descriptors = started(wire::receive(&socket)?)?;
        Ok((Alive(socket), descriptors))
    }

    /// The same, without holding up others.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn start_meanwhile(&self, ask: &Ask) -> Result<(Alive, Vec<OwnedFd>)> {
        let socket = self.ask(ask)?;
        let descriptors = started(received(&socket).await?)?;
        Ok((Alive(socket), descriptors))
    }

    /// Each request has a socket of its own for its answers.
    fn ask(&self, ask: &Ask) -> Result<OwnedFd> {
        let (ours, theirs) = wire::pair()?;
        wire::send(&self.0, ask, &[theirs.as_fd()]).context("the starter has ended")?;
        Ok(ours)
    }
}

impl Alive {
    /// Waits until it has ended, and says how.
    pub async fn ended(&self) -> String {
        match received(&self.0).await {
            Ok(Some((Said::Ended(how), _))) => how,
            _ => "its starter ended".to_owned(),
        }
    }
}

fn started(said: Option<(Said, Vec<OwnedFd>)>) -> Result<Vec<OwnedFd>> {
    match said.context("the starter has ended")? {
        (Said::Done, descriptors) => Ok(descriptors),
        (Said::Failed(why) | Said::Ended(why), _) => bail!(why),
    }
}

async fn received(socket: &OwnedFd) -> Result<Option<(Said, Vec<OwnedFd>)>> {
    Ok(wire::Incoming::on(rustix::io::fcntl_dupfd_cloexec(socket, 0)?)?.next().await?)
}
