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
    /// The question's number.
    pub number: u64,
}

/// The answer to the question with this number.
#[derive(Serialize, Deserialize)]
pub struct Renewed {
    pub number: u64,
    pub outcome: Outcome,
}

/// What was found.
#[derive(Serialize, Deserialize)]
pub enum Outcome {
    Found(Found),
    Failed(String),
}

/// A connection to the process that finds keys anew.
pub struct Renewal {
    send: OwnedFd,
    receive: wire::Incoming,
    /// How many questions were asked.
    asked: u64,
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
        Ok(Self { send: socket.try_clone()?, receive: wire::Incoming::on(socket)?, asked: 0 })
    }

    /// Asks for the headers of an upstream.
    ///
    /// # Errors
    /// Returns why they cannot be found.
    pub async fn ask(&mut self, upstream: usize, refused: bool) -> Result<Found> {
        self.asked += 1;
        wire::send(&self.send, &Renew { upstream, refused, number: self.asked }, &[])?;
        let answered = timeout(PATIENCE, self.answer(self.asked)).await;
        match answered.ok().with_context(|| format!("it took more than {} s", PATIENCE.as_secs()))?? {
            Outcome::Found(found) => Ok(found),
            Outcome::Failed(why) => bail!(why),
        }
    }

    /// Waits for the answer to a question. Those to earlier ones come late, and nobody waits for them.
    async fn answer(&self, number: u64) -> Result<Outcome> {
        loop {
            let answer = self.receive.next::<Renewed>().await?;
            let (renewed, _) = answer.context("the process that finds keys has ended")?;
            if renewed.number == number {
                return Ok(renewed.outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_given_up_or_took_too_long_does_not_end_the_next_one() {
        let (ours, theirs) = wire::pair().unwrap();
        let mut renewal = Renewal::at(ours).unwrap();
        let answer = |question: Renew| {
            let outcome = Outcome::Failed(format!("answer {}", question.number));
            wire::send(&theirs, &Renewed { number: question.number, outcome }, &[]).unwrap();
        };
        let question = || wire::receive::<Renew>(&theirs).unwrap().unwrap().0;
        // The client gives up.
        assert!(timeout(Duration::from_secs(1), renewal.ask(0, true)).await.is_err());
        let first = question();
        // The command takes too long.
        let late = renewal.ask(0, true).await.err().unwrap();
        assert!(late.to_string().contains("more than 75 s"), "{late}");
        answer(first);
        answer(question());
        let (asked, ()) = tokio::join!(renewal.ask(0, true), async { answer(question()) });
        assert_eq!(asked.err().unwrap().to_string(), "answer 3");
    }
}
