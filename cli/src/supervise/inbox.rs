//! What an agent has asked for, until a person has decided.
//!
//! It is in the keeper's memory only: who asked is gone with the keeper, too.

use bottle_core::egress::HostRule;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::timeout;

/// The most that wait at a time. An agent that asks for more is told so.
pub const MAX_WAITING: usize = 32;
/// Decisions that are remembered, for an agent that did not wait for them.
const MAX_DECIDED: usize = 256;

/// What an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Wish {
    /// To reach a host.
    Host {
        /// Which.
        rule: HostRule,
        /// What for.
        reason: String,
    },
    /// An answer.
    Question {
        /// To what.
        question: String,
    },
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub approved: bool,
    /// The answer, or why not.
    pub says: Option<String>,
}

/// What waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its number in this bottle, from 1.
    pub number: u32,
    /// What it is.
    pub wish: Wish,
    /// When it was asked for first.
    pub since: SystemTime,
    /// How many of the agent's calls wait for it now.
    pub callers: usize,
}

/// The inbox of one bottle.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u32,
    waiting: Vec<(Waiting, watch::Sender<Option<Decision>>)>,
    decided: Vec<(Wish, Decision)>,
}

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_WAITING} requests wait for your operator already")]
pub struct Full;

impl Wish {
    /// Whether another wish asks for the same: a host's reason may be put in other words.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host { rule, .. }, Self::Host { rule: wanted, .. }) => rule == wanted,
            _ => self == other,
        }
    }
}

impl Inbox {
    /// Asks, and waits so long for a decision. Without one the wish stays, and asking again waits on.
    ///
    /// # Errors
    /// [`Full`] where nothing more can wait.
    pub async fn ask(&self, wish: Wish, patience: Duration) -> Result<Option<Decision>, Full> {
        let mut decision = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // One who asks again for what was decided while nobody waited gets that decision, once.
            if let Some(at) = state.decided.iter().position(|(decided, _)| decided.is_same(&wish)) {
                return Ok(Some(state.decided.remove(at).1));
            }
            match state.waiting.iter().find(|(waiting, _)| waiting.wish.is_same(&wish)) {
                Some((_, decisions)) => decisions.subscribe(),
                None if state.waiting.len() >= MAX_WAITING => return Err(Full),
                None => {
                    state.last += 1;
                    let waiting = Waiting { number: state.last, wish, since: SystemTime::now(), callers: 0 };
                    let (sender, receiver) = watch::channel(None);
                    state.waiting.push((waiting, sender));
                    receiver
                }
            }
        };
        let decided = timeout(patience, decision.wait_for(Option::is_some)).await;
        Ok(decided.ok().and_then(|decided| decided.ok().and_then(|decision| decision.clone())))
    }

    /// What waits, the oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = |(waiting, sender): &(Waiting, watch::Sender<_>)| Waiting {
            callers: sender.receiver_count(),
            ..waiting.clone()
        };
        state.waiting.iter().map(now).collect()
    }

    /// The wish of this number, if it waits.
    pub fn wish(&self, number: u32) -> Option<Wish> {
        self.waiting().into_iter().find(|waiting| waiting.number == number).map(|waiting| waiting.wish)
    }

    /// Decides: whether there was something to decide.
    pub fn decide(&self, number: u32, decision: Decision) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = state.waiting.iter().position(|(waiting, _)| waiting.number == number) else {
            return false;
        };
        let (waiting, sender) = state.waiting.remove(at);
        if sender.send(Some(decision.clone())).is_err() {
            state.decided.push((waiting.wish, decision));
            let many = state.decided.len().saturating_sub(MAX_DECIDED);
            state.decided.drain(..many);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn question(text: &str) -> Wish {
        Wish::Question { question: text.to_owned() }
    }

    fn host(reason: &str) -> Wish {
        Wish::Host { rule: "a.test".parse().unwrap(), reason: reason.to_owned() }
    }

    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    const YES: Decision = Decision { approved: true, says: None };

    #[test]
    fn a_call_gets_the_decision_however_many_ask_for_the_same() {
        on_a_paused_clock(async {
            let inbox = Arc::new(Inbox::default());
            let call = |reason: &'static str| {
                let inbox = Arc::clone(&inbox);
                tokio::spawn(async move { inbox.ask(host(reason), Duration::from_secs(60)).await })
            };
            let (first, second) = (call("one"), call("in other words"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            let waiting = inbox.waiting();
            assert_eq!((waiting.len(), waiting[0].number, waiting[0].callers), (1, 1, 2));
            assert!(inbox.decide(1, YES) && !inbox.decide(1, YES));
            assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(Some(YES)), Ok(Some(YES))));
            assert!(inbox.waiting().is_empty());
        });
    }

    #[test]
    fn one_that_did_not_wait_gets_the_decision_when_it_asks_again() {
        on_a_paused_clock(async {
            let inbox = Inbox::default();
            assert_eq!(inbox.ask(question("?"), Duration::from_secs(5)).await, Ok(None));
            assert_eq!(inbox.waiting().len(), 1);
            let no = Decision { approved: false, says: Some("because".to_owned()) };
            assert!(inbox.decide(1, no.clone()));
            assert_eq!(inbox.ask(question("other"), Duration::ZERO).await, Ok(None));
            assert_eq!(inbox.ask(question("?"), Duration::ZERO).await, Ok(Some(no)));
            // Once: the next time it is a new question.
            assert_eq!(inbox.ask(question("?"), Duration::ZERO).await, Ok(None));
            assert_eq!(inbox.waiting().last().unwrap().number, 3);
        });
    }

    #[test]
    fn no_more_wait_than_a_person_can_look_at() {
        on_a_paused_clock(async {
            let inbox = Inbox::default();
            for number in 0..MAX_WAITING {
                assert_eq!(inbox.ask(question(&number.to_string()), Duration::ZERO).await, Ok(None));
            }
            assert_eq!(inbox.ask(question("more"), Duration::ZERO).await, Err(Full));
            assert_eq!(inbox.ask(question("3"), Duration::ZERO).await, Ok(None));
        });
    }
}
