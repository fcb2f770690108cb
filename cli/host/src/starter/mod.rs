//! Starts programs for a keeper that may not start any.
//!
//! The keeper reads what a guest sends, so it has given up the right to run anything. The starter has not,
//! and it reads nothing from a guest. It accepts a fixed set of requests ([`Ask`]) from its one keeper,
//! checks each against the plan that it read before there was a guest, and hands back descriptors. It ends
//! with its keeper, and everything that it started ends with it.

pub mod wire;

use crate::rules::Change;
use anyhow::{Context, Result, bail};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// A keeper's request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Fetch from the user's own repositories into the quarantines.
    Refresh,
    /// Start the network stack in place of the previous one. The answer comes with the doors' listeners, in
    /// the order of the plan, and the link.
    Stack,
    /// Start a sidecar that is a command.
    Sidecar(Sidecar),
    /// Start git for one request to git-gate. The answer comes with git's standard input and output, and the
    /// socket on which the hooks talk.
    Git(GitCall),
    /// Forward a push that a rule allows.
    Forward {
        /// The repository.
        repo: Slug,
        /// The ref's full name.
        name: String,
        /// The commit that was judged, unless the push deletes the ref.
        commit: Option<String>,
    },
    /// Give the guest's copy of the project to its machine's user.
    Give {
        /// The user.
        uid: u32,
    },
    /// Record a change of the rules.
    Remember(Change),
}

/// One request to git-gate, reduced to what git is told about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GitCall {
    /// The repository.
    pub repo: Slug,
    /// The requested service.
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

/// The services of git-gate: git's smart protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitService {
    /// List the refs, for a fetch.
    FetchRefs,
    /// Fetch.
    Fetch,
    /// List the refs, for a push.
    PushRefs,
    /// Push.
    Push,
}

/// An answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It is done, or it is running.
    Done,
    /// It failed. Contains the reason.
    Failed(String),
    /// The program that was started has ended. Contains how.
    Ended(String),
}

/// A keeper's connection to its starter.
#[derive(Debug)]
pub struct Starter(OwnedFd);

/// A program that was started. Dropping this value ends it.
#[derive(Debug)]
pub struct Alive(OwnedFd);

impl Starter {
    /// Connects to the starter at the other end of a socket.
    pub fn at(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Returns another descriptor of the socket, to watch for its end.
    ///
    /// # Errors
    /// Returns an error if there are no descriptors left.
    pub fn watched(&self) -> Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.0, 0)?)
    }

    /// Makes a request, and waits until it is carried out.
    ///
    /// # Errors
    /// Returns the reason if it is not carried out.
    pub fn demand(&self, ask: &Ask) -> Result<()> {
        self.start(ask).map(|_| ())
    }

    /// Forwards a push.
    ///
    /// # Errors
    /// Returns the reason if it is not forwarded.
    pub fn forward(&self, repo: Slug, name: String, commit: Option<String>) -> Result<()> {
        self.demand(&Ask::Forward { repo, name, commit })
    }

    /// Requests a program that keeps running, and waits until it runs.
    ///
    /// # Errors
    /// Returns the reason if it does not run.
    pub fn start(&self, ask: &Ask) -> Result<(Alive, Vec<OwnedFd>)> {
        let socket = self.ask(ask)?;
        let descriptors = started(wire::receive(&socket)?)?;
        Ok((Alive(socket), descriptors))
    }

    /// Requests a program that keeps running, without blocking other tasks.
    ///
    /// # Errors
    /// Returns the reason if it does not run.
    pub async fn start_meanwhile(&self, ask: &Ask) -> Result<(Alive, Vec<OwnedFd>)> {
        let socket = self.ask(ask)?;
        let descriptors = started(received(&socket).await?)?;
        Ok((Alive(socket), descriptors))
    }

    /// Sends a request. Each request has its own socket for its answers.
    fn ask(&self, ask: &Ask) -> Result<OwnedFd> {
        let (ours, theirs) = wire::pair()?;
        wire::send(&self.0, ask, &[theirs.as_fd()]).context("the starter has ended")?;
        Ok(ours)
    }
}

impl Alive {
    /// Waits until the program has ended, and returns how.
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
