//! The verdict, based on the answers and the canaries together.

use super::canaries::HostCanaries;
use super::probed::Probed;
use super::questions::{RAW, WITNESSES};
use super::subject::Subject;
use crate::environment::Guest;
use anyhow::Result;
use bottle_guest::probe::Answer;
use bottle_verify::judge::{self, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// A judged subject. This is an element of `subjects` in `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub subject: Subject,
    pub guest: Guest,
    pub verdict: Verdict,
    /// Whether the result is the expected one.
    pub as_it_must: bool,
    /// What was reached but should not be.
    pub leaks: Vec<String>,
    /// Why it is inconclusive.
    pub inconclusive_because: Option<String>,
    /// The network's own services that accepted a connection. They are listed, but are not leaks.
    pub services: Vec<String>,
    /// The virtual machine's own vsock ports that accepted a connection.
    pub vsock: Vec<String>,
    /// How many refusals were silent until the time limit.
    pub hangs: usize,
    /// How many attempts the probes made.
    pub attempts: usize,
    /// How many times it was run. An inconclusive run is repeated.
    pub tries: u32,
    pub doors: BTreeSet<u16>,
    pub seconds: f64,
    pub probes: Vec<Answer>,
}

impl Judged {
    /// Returns a result that proves nothing either way.
    pub fn inconclusive(subject: Subject, guest: Guest, why: String) -> Self {
        Self {
            subject,
            guest,
            verdict: Verdict::Inconclusive,
            as_it_must: false,
            leaks: Vec::new(),
            inconclusive_because: Some(why),
            services: Vec::new(),
            vsock: Vec::new(),
            hangs: 0,
            attempts: 0,
            tries: 1,
            doors: BTreeSet::new(),
            seconds: 0.0,
            probes: Vec::new(),
        }
    }
}

/// Judges the results of a subject's probes.
pub fn judge(
    subject: Subject,
    guest: Guest,
    canaries: &HostCanaries,
    probed: Result<Probed>,
    took: Duration,
) -> Judged {
    let probed = match probed {
        Ok(probed) => probed,
        Err(error) => return Judged::inconclusive(subject, guest, format!("{error:#}")),
    };
    let asked = probed.answers.iter().filter(|answer| !WITNESSES.contains(&answer.id.as_str()));
    let mut findings = judge::read(asked, &probed.scope, canaries.nonce());
    findings.leaks.extend(canaries.leaks());
    if subject.has_guard() {
        findings.behind_a_guard();
    }
    let raw_silence: usize =
        probed.answers.iter().filter(|answer| answer.id == RAW).map(|answer| answer.silent).sum();
    let why = inconclusive(&probed, canaries.nonce());
    let verdict = Verdict::of(&findings, why.as_deref());
    let wanted = if subject.must_be_isolated() { Verdict::Isolated } else { Verdict::Leaks };
    let hangs = findings.hangs - raw_silence;
    Judged {
        subject,
        guest,
        verdict,
        as_it_must: verdict == wanted && (hangs == 0 || subject.may_hang()),
        leaks: findings.leaks.into_iter().collect(),
        inconclusive_because: why,
        services: findings.services,
        vsock: findings.vsock,
        hangs,
        attempts: findings.attempts,
        tries: 1,
        doors: probed.scope.doors,
        seconds: took.as_secs_f64(),
        probes: probed.answers,
    }
}

fn inconclusive(probed: &Probed, nonce: &str) -> Option<String> {
    let witnesses = if probed.has_no_witness { &[][..] } else { &WITNESSES };
    if let Some(why) = judge::doubt(&probed.answers, probed.asked, witnesses, nonce) {
        return Some(why);
    }
    if probed.has_no_witness {
        return Some("there is no door that could answer as a witness".to_owned());
    }
    let raw = probed.answers.iter().find(|answer| answer.id == RAW)?;
    (raw.failed > 0 && raw.said.is_empty()).then(|| format!("raw frames could not be written: {}", raw.error))
}
