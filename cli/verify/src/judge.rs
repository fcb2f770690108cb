//! What answers mean. Reach is proven by bytes that carry this run's number, or by a canary that
//! saw the guest; a completed handshake alone is recorded, and counts only where a guard stands.

use super::scope::Scope;
use bottle_guest::probe::Answer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a network came out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Verdict {
    /// The doors answered before and after, and nothing else was reached.
    Isolated,
    /// Something else was reached.
    Leaks,
    /// A witness failed, the guest died, or a probe could not run. It says nothing either way.
    Inconclusive,
}

impl Verdict {
    /// What findings come to, where something may be wrong with how they were got. What was
    /// reached was reached, whatever else went wrong.
    pub fn of(findings: &Findings, doubt: Option<&str>) -> Self {
        match (findings.leaks.is_empty(), doubt) {
            (false, _) => Self::Leaks,
            (true, Some(_)) => Self::Inconclusive,
            (true, None) => Self::Isolated,
        }
    }

    /// The worse of two: what one half found is found, and what one half leaves open is open.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Leaks, _) | (_, Self::Leaks) => Self::Leaks,
            (Self::Inconclusive, _) | (_, Self::Inconclusive) => Self::Inconclusive,
            (Self::Isolated, Self::Isolated) => Self::Isolated,
        }
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Leaks => "leaks",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What the answers to a list of questions say.
#[derive(Debug, Default)]
pub struct Findings {
    /// What was reached and should not be.
    pub leaks: BTreeSet<String>,
    /// Ports that are no doors and took a connection: behind a guard there are none.
    pub services: Vec<String>,
    /// vsock ports that took a connection: the virtual machine's own services.
    pub vsock: Vec<String>,
    /// Attempts that stayed silent until patience ended.
    pub hangs: usize,
    /// How many attempts there were.
    pub attempts: usize,
}

impl Findings {
    /// Behind a guard, nothing but a door takes a connection.
    pub fn behind_a_guard(&mut self) {
        self.leaks.extend(self.services.drain(..).map(|service| format!("{service} took a connection")));
    }
}

/// Why the answers say nothing, if they do not: each witness has to have heard this word, or the
/// guest may have had no network at all.
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

/// Reads the answers, those of witnesses aside.
pub fn read<'a>(answers: impl Iterator<Item = &'a Answer>, scope: &Scope, nonce: &str) -> Findings {
    let mut findings = Findings::default();
    for answer in answers {
        findings.attempts += attempts(answer);
        // On vsock the virtual machine's monitor does the refusing, and it does so by silence.
        if !answer.id.starts_with("vsock ") && !answer.id.starts_with("tsi ") {
            findings.hangs += answer.silent;
        }
        if let Some((port, _)) = answer.said.iter().find(|(_, said)| said.contains(nonce)) {
            findings.leaks.insert(format!("{}: port {port} said this run's number", answer.id));
        }
        // A network's own stack may answer for any address: that is a service of it, and no reach.
        if answer.id.starts_with("ping ") && !answer.said.is_empty() {
            findings.services.push(format!("{}: an echo", answer.id));
        }
        let services = answer.accepted.iter().filter(|port| !scope.doors.contains(port) && **port != 0);
        findings.services.extend(listed(answer, services.map(|port| u32::from(*port))));
        findings.vsock.extend(listed(answer, answer.vsock.iter().copied()));
    }
    findings
}

/// Ports in their order, neighbours as one range.
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

/// How many attempts an answer tells of.
pub fn attempts(answer: &Answer) -> usize {
    answer.accepted.len().max(answer.said.len())
        + answer.vsock.len()
        + answer.refused
        + answer.silent
        + answer.failed
}
