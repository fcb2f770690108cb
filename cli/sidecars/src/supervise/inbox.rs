//! The agent's requests, from the call until a person has decided and the agent knows.
//!
//! They are only in the keeper's memory: when the keeper ends, the callers are gone, too. A number is never
//! reused in a bottle's life, so a person decides about the request that they saw under that number.

use anyhow::{Context, Result};
use bottle_core::egress::HostRule;
use bottle_host::control::{AgentRequest, Decision, Waiting};
use bottle_host::defence::Defence;
use bottle_host::state::{Folder, write_private};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How many requests may wait at a time. An agent that asks for more is refused.
pub const MAX_WAITING: usize = 32;
/// How many decisions are kept for an agent that did not wait for them.
const MAX_DECIDED: usize = 256;
/// How long a decision that was given to the agent is given again. It is unknown whether it arrived: a call
/// whose connection is gone looks like one that waits.
const GIVEN_AGAIN: Duration = Duration::from_secs(600);

/// The last number used, saved on disk so that a restarted keeper continues after it.
#[derive(Debug)]
pub struct Numbers {
    last: u32,
    path: Option<PathBuf>,
}

/// The inbox of one bottle.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    asked: Asked,
}

/// What is called with each new request.
struct Asked(Box<dyn Fn(&Waiting) + Send + Sync>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

#[derive(Debug)]
struct State {
    numbers: Numbers,
    waiting: Vec<(Waiting, watch::Sender<Option<Decision>>)>,
    decided: Vec<Decided>,
}

#[derive(Debug)]
struct Decided {
    number: u32,
    request: AgentRequest,
    decision: Decision,
    /// When the agent first got the decision.
    given: Option<Instant>,
}

/// Why a request does not wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many requests wait already.
    #[error("{MAX_WAITING} requests wait for your operator already")]
    Full,
    /// The number of the request cannot be saved.
    #[error("the number of the request cannot be saved: {0}")]
    Unwritten(String),
    /// No request with this number waits, and none was decided lately.
    #[error("there is no request with the id {0}")]
    Unknown(u32),
}

/// What a call for a decision gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The number of the request.
    pub number: u32,
    /// The decision, if there is one.
    pub decision: Option<Decision>,
}

impl Numbers {
    /// Returns the numbers of a bottle.
    ///
    /// # Errors
    /// Returns an error if the file exists and cannot be read.
    pub fn of(folder: &Folder) -> Result<Self> {
        let path = folder.inbox();
        let last = match fs::read_to_string(&path) {
            Ok(text) if Defence::RequestNumbers.stands() => {
                serde_json::from_str(&text).with_context(|| path.display().to_string())?
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => 0,
        };
        Ok(Self { last, path: Some(path) })
    }

    /// Returns numbers, starting with 1, that are not saved.
    pub fn forgotten() -> Self {
        Self { last: 0, path: None }
    }

    fn next(&mut self) -> Result<u32> {
        let next = self.last.checked_add(1).context("there are no numbers left")?;
        if let Some(path) = &self.path {
            write_private(path, next.to_string().as_bytes())?;
        }
        self.last = next;
        Ok(next)
    }
}

impl State {
    /// Returns the decision about a request, if the agent may get it now.
    fn decided(&mut self, is_meant: impl Fn(&Decided) -> bool) -> Option<Reply> {
        let at = self.decided.iter().position(is_meant)?;
        if !Defence::DecisionKept.stands() {
            let Decided { number, decision, .. } = self.decided.remove(at);
            return Some(Reply { number, decision: Some(decision) });
        }
        let decided = &mut self.decided[at];
        let given = *decided.given.get_or_insert_with(Instant::now);
        if given.elapsed() <= GIVEN_AGAIN {
            return Some(Reply { number: decided.number, decision: Some(decided.decision.clone()) });
        }
        // It counts as a new request now.
        self.decided.remove(at);
        None
    }
}

impl Inbox {
    /// Creates an empty inbox. `asked` is called with each new request.
    pub fn new(numbers: Numbers, asked: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { numbers, waiting: Vec::new(), decided: Vec::new() });
        Self { state, asked: Asked(Box::new(asked)) }
    }

    /// Adds a request and waits for a decision, for up to `patience`. Without a decision the request stays,
    /// and asking again resumes the wait.
    ///
    /// # Errors
    /// Returns [`Refused`] if the request cannot wait.
    pub async fn ask(&self, request: AgentRequest, patience: Duration) -> Result<Reply, Refused> {
        let (number, decision) = {
            let mut state = self.lock();
            if let Some(reply) = state.decided(|decided| decided.request.is_same(&request)) {
                return Ok(reply);
            }
            match state.waiting.iter().find(|(waiting, _)| waiting.request.is_same(&request)) {
                Some((waiting, decisions)) => (waiting.number, decisions.subscribe()),
                None if state.waiting.len() >= MAX_WAITING => return Err(Refused::Full),
                None => {
                    let number =
                        state.numbers.next().map_err(|error| Refused::Unwritten(format!("{error:#}")))?;
                    let waiting = Waiting { number, request, since: SystemTime::now(), callers: 0 };
                    (self.asked.0)(&waiting);
                    let (sender, receiver) = watch::channel(None);
                    state.waiting.push((waiting, sender));
                    (number, receiver)
                }
            }
        };
        Ok(Self::waited(number, decision, patience).await)
    }

    /// Goes on waiting for the decision about the request with this number.
    ///
    /// # Errors
    /// Returns [`Refused::Unknown`] if there is none.
    pub async fn resume(&self, number: u32, patience: Duration) -> Result<Reply, Refused> {
        let decision = {
            let mut state = self.lock();
            if let Some(reply) = state.decided(|decided| decided.number == number) {
                return Ok(reply);
            }
            let known = state.waiting.iter().find(|(waiting, _)| waiting.number == number);
            known.map(|(_, decisions)| decisions.subscribe()).ok_or(Refused::Unknown(number))?
        };
        Ok(Self::waited(number, decision, patience).await)
    }

    async fn waited(
        number: u32,
        mut decision: watch::Receiver<Option<Decision>>,
        patience: Duration,
    ) -> Reply {
        let decided = timeout(patience, decision.wait_for(Option::is_some)).await;
        Reply { number, decision: decided.ok().and_then(|decided| decided.ok().and_then(|one| one.clone())) }
    }

    /// Returns the waiting requests, the oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        let state = self.lock();
        let now = |(waiting, sender): &(Waiting, watch::Sender<_>)| Waiting {
            callers: sender.receiver_count(),
            ..waiting.clone()
        };
        state.waiting.iter().map(now).collect()
    }

    /// Returns the request with this number, if it is waiting.
    pub fn find(&self, number: u32) -> Option<AgentRequest> {
        self.waiting().into_iter().find(|waiting| waiting.number == number).map(|waiting| waiting.request)
    }

    /// Decides a request, and returns whether it was still waiting.
    pub fn decide(&self, number: u32, decision: Decision) -> bool {
        let mut state = self.lock();
        let Some(at) = state.waiting.iter().position(|(waiting, _)| waiting.number == number) else {
            return false;
        };
        let (waiting, sender) = state.waiting.remove(at);
        let heard = sender.send(Some(decision.clone())).is_ok();
        if !heard || Defence::DecisionKept.stands() {
            let given = heard.then(Instant::now);
            state.decided.push(Decided { number, request: waiting.request, decision, given });
            let many = state.decided.len().saturating_sub(MAX_DECIDED);
            state.decided.drain(..many);
        }
        true
    }

    /// Forgets decisions about the hosts for which `is_meant` holds, because their rules have changed.
    pub fn forget(&self, is_meant: impl Fn(&HostRule) -> bool) {
        self.lock()
            .decided
            .retain(|decided| !matches!(&decided.request, AgentRequest::Host { rule, .. } if is_meant(rule)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
