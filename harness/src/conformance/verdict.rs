//! What the answers and the canaries say together.

use super::questions::{RAW, WITNESSES};
use super::subject::{Probed, Subject};
use super::world::World;
use anyhow::Result;
use bottle_guest::probe::Answer;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a subject came out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The doors answered before and after, and nothing else was reached.
    Isolated,
    /// Something else was reached.
    Leaks,
    /// A witness failed, the guest died, or a probe could not run. It says nothing either way.
    Inconclusive,
}

/// A subject, judged.
pub struct Judged {
    pub subject: Subject,
    pub verdict: Verdict,
    /// What was reached and should not be.
    pub leaks: Vec<String>,
    /// Why it is inconclusive.
    pub why: Option<String>,
    /// Services of the network itself that took a connection: listed, and no leak.
    pub services: Vec<String>,
    /// Refusals that took until patience ended: a refusal must not look like a hang.
    pub hangs: usize,
    pub answers: Vec<Answer>,
    pub doors: Vec<u16>,
    pub took: Duration,
}

impl Judged {
    /// Whether it came out as it must: bottle isolated and without a hang, a control leaking.
    pub fn is_as_it_must(&self) -> bool {
        let wanted = if self.subject.must_be_isolated() { Verdict::Isolated } else { Verdict::Leaks };
        self.verdict == wanted && (self.subject != Subject::Bottle || self.hangs == 0)
    }
}

/// Judges what came of a subject's probes.
pub fn judge(subject: Subject, world: &World, probed: Result<Probed>, took: Duration) -> Judged {
    let mut judged = Judged {
        subject,
        verdict: Verdict::Inconclusive,
        leaks: Vec::new(),
        why: None,
        services: Vec::new(),
        hangs: 0,
        answers: Vec::new(),
        doors: Vec::new(),
        took,
    };
    let probed = match probed {
        Ok(probed) => probed,
        Err(error) => {
            judged.why = Some(format!("{error:#}"));
            return judged;
        }
    };
    let mut leaks: BTreeSet<String> = BTreeSet::new();
    for (canary, seen) in world.seen() {
        let first = seen.first().cloned().unwrap_or_default();
        leaks.insert(format!("canary {canary} was reached {} times (first: {first})", seen.len()));
    }
    let nonce = &world.nonce;
    for answer in probed.answers.iter().filter(|answer| !WITNESSES.contains(&answer.id.as_str())) {
        for (port, _) in answer.said.iter().filter(|(_, said)| said.contains(nonce.as_str())) {
            leaks.insert(format!("{}: port {port} said this run's number", answer.id));
        }
        let doors = probed.plan.doors.ports();
        let services: Vec<u16> =
            answer.accepted.iter().copied().filter(|port| !doors.contains(port) && *port != 0).collect();
        if !services.is_empty() {
            judged.services.push(format!("{}: {services:?}", answer.id));
        }
        if answer.id != RAW {
            judged.hangs += answer.silent;
        }
    }
    judged.why = inconclusive(&probed, nonce);
    judged.verdict = match (&judged.why, leaks.is_empty()) {
        // What was reached was reached, whatever else went wrong.
        (_, false) => Verdict::Leaks,
        (Some(_), true) => Verdict::Inconclusive,
        (None, true) => Verdict::Isolated,
    };
    judged.leaks = leaks.into_iter().collect();
    judged.doors = probed.plan.doors.ports().into_iter().collect();
    judged.answers = probed.answers;
    judged
}

fn inconclusive(probed: &Probed, nonce: &str) -> Option<String> {
    if probed.answers.len() != probed.asked {
        return Some(format!("{} of {} probes were answered", probed.answers.len(), probed.asked));
    }
    for witness in WITNESSES {
        let spoke = |answer: &Answer| {
            answer.id == witness && answer.said.iter().any(|(_, said)| said.contains(nonce))
        };
        if !probed.answers.iter().any(spoke) {
            return Some(format!("the {witness} did not answer"));
        }
    }
    let raw = probed.answers.iter().find(|answer| answer.id == RAW)?;
    (raw.failed > 0 && raw.said.is_empty()).then(|| format!("raw frames could not be written: {}", raw.error))
}
