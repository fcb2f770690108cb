//! What answers mean. A leak is proven by bytes that contain this run's number, or by a canary that saw the
//! guest. A completed handshake alone is recorded, and only counts behind a guard.

use super::scope::Scope;
use bottle_guest::probe::Answer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The verdict on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Verdict {
    /// The doors answered before and after, and nothing else was reached.
    Isolated,
    /// Something else was reached.
    Leaks,
    /// A witness failed, the guest died, or a probe could not run. There is no verdict either way.
    Inconclusive,
}

impl Verdict {
    /// Judges findings. `doubt` says what may be wrong with how they were obtained. A leak is a leak,
    /// whatever else went wrong.
    pub fn of(findings: &Findings, doubt: Option<&str>) -> Self {
        match (findings.leaks.is_empty(), doubt) {
            (false, _) => Self::Leaks,
            (true, Some(_)) => Self::Inconclusive,
            (true, None) => Self::Isolated,
        }
    }

    /// Returns the worse of two verdicts: a leak in one half is a leak, and a doubt about one half is a doubt
    /// about both.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Leaks, _) | (_, Self::Leaks) => Self::Leaks,
            (Self::Inconclusive, _) | (_, Self::Inconclusive) => Self::Inconclusive,
            (Self::Isolated, Self::Isolated) => Self::Isolated,
        }
    }

    /// Returns the verdict in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Leaks => "leaks",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What the answers to a list of questions show.
#[derive(Debug, Default)]
pub struct Findings {
    /// Destinations that were reached although they should not be.
    pub leaks: BTreeSet<String>,
    /// Ports that accepted a connection although they are not doors. Behind a guard there are none.
    pub services: Vec<String>,
    /// vsock ports that accepted a connection: the virtual machine's own services.
    pub vsock: Vec<String>,
    /// The number of attempts that got no response until the patience ran out.
    pub hangs: usize,
    /// The number of attempts.
    pub attempts: usize,
}

impl Findings {
    /// Counts every other service as a leak: behind a guard, nothing but a door accepts a connection.
    pub fn behind_a_guard(&mut self) {
        self.leaks.extend(self.services.drain(..).map(|service| format!("{service} accepted a connection")));
    }
}

/// Returns why the answers mean nothing, if so: every witness must have heard this word, or the guest may
/// have had no network at all.
pub fn doubt(answers: &[Answer], asked: usize, witnesses: &[&str], word: &str) -> Option<String> {
    if answers.len() != asked {
        return Some(format!("{} of {asked} probes were answered", answers.len()));
    }
    let spoke = |witness: &str| {
        answers.iter().any(|a| a.id == witness && a.said.iter().any(|(_, said)| said.contains(word)))
    };
    let silent = witnesses.iter().find(|witness| !spoke(witness))?;
    Some(format!("the {silent} did not answer"))
}

/// Reads the answers, except those of witnesses.
pub fn read<'a>(answers: impl Iterator<Item = &'a Answer>, scope: &Scope, nonce: &str) -> Findings {
    let mut findings = Findings::default();
    for answer in answers {
        findings.attempts += attempts(answer);
        // On vsock, the virtual machine's monitor refuses, and it does so silently.
        if !answer.id.starts_with("vsock ") && !answer.id.starts_with("tsi ") {
            findings.hangs += answer.silent;
        }
        if let Some((port, _)) = answer.said.iter().find(|(_, said)| said.contains(nonce)) {
            findings.leaks.insert(format!("{}: port {port} said this run's number", answer.id));
        }
        // A network's own stack may answer for any address. That is a service of the network, and reaches
        // nothing.
        if answer.id.starts_with("ping ") && !answer.said.is_empty() {
            findings.services.push(format!("{}: an echo", answer.id));
        }
        let services = answer.accepted.iter().filter(|port| !scope.doors.contains(port) && **port != 0);
        findings.services.extend(listed(answer, services.map(|port| u32::from(*port))));
        findings.vsock.extend(listed(answer, answer.vsock.iter().copied()));
    }
    findings
}

/// Lists ports in order, with consecutive ones as a range.
fn listed(answer: &Answer, ports: impl Iterator<Item = u32>) -> Option<String> {
    let ports: Vec<u32> = ports.collect();
    let ranges: Vec<String> = ports
        .chunk_by(|port, next| *next == port + 1)
        .filter_map(|range| match range {
            [] => None,
            [port] => Some(port.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
        })
        .collect();
    (!ranges.is_empty()).then(|| format!("{}: {}", answer.id, ranges.join(", ")))
}

/// Returns how many attempts an answer reports.
pub fn attempts(answer: &Answer) -> usize {
    answer.accepted.len().max(answer.said.len())
        + answer.vsock.len()
        + answer.refused
        + answer.silent
        + answer.failed
}
