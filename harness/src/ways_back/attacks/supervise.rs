//! Attacks on supervise: an agent makes its operator decide something that was not asked, or decide nothing.

use crate::ways_back::attack::Attack;
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Result, ensure};
use bottle_host::defence::Defence;

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("supervise-yes-without-an-answer", Defence::AnswerNeeded, without_an_answer),
        Attack::new("supervise-decision-is-lost", Defence::DecisionKept, lost),
        Attack::new("supervise-number-means-another-request", Defence::RequestNumbers, another_request),
        Attack::new("supervise-flood-of-reports", Defence::CountedRefusals, reports),
    ]
}

fn ask(question: &str, wait: u32) -> String {
    format!("-d '{{\"question\": \"{question}\", \"wait_seconds\": {wait}}}' $BOTTLE_SUPERVISE/ask")
}

/// "May I delete the production database?" is approved by reflex.
fn without_an_answer(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    let asked = format!("curl -sS -m 20 {}", ask("delete the database, or keep it?", 0));
    ensure!(target.guest(&asked)?.contains("undecided"), "it waits");
    target.operator(&["approve", "t.1"])?;
    target.operator(&["approve", "t.1", " "])?;
    let said = target.guest(&asked)?;
    Ok(Verdict::succeeded_if(said.contains("approved"), format!("the agent was told: {said}")))
}

/// The agent's call has already ended when the operator decides, and the keeper was not told.
fn lost(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    target.guest(&format!("curl -sS -m 1 {} || true", ask("stop, or go on?", 300)))?;
    ensure!(target.operator(&["approve", "t.1", "stop"])?.is_success(), "approve");
    let said = target.guest(&format!("curl -sS -m 20 {}", ask("stop, or go on?", 0)))?;
    Ok(Verdict::succeeded_if(!said.contains("\"stop\""), format!("the agent was told: {said}")))
}

/// Request number 1, which the operator has seen, is another request after a restart.
fn another_request(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    target.guest(&format!("curl -sS -m 20 {}", ask("tabs or spaces?", 0)))?;
    ensure!(target.operator(&["inbox"])?.text().contains("t.1"), "inbox");
    ensure!(target.operator(&["stop", SLUG])?.is_success(), "stop");
    ensure!(target.operator(&["up"])?.is_success(), "up");
    let request = "curl -sS -m 20 -d '{\"host\": \"evil.test\", \"reason\": \"x\", \"wait_seconds\": 0}' $BOTTLE_SUPERVISE/request_host";
    target.guest(request)?;
    target.operator(&["approve", "t.1", "tabs"])?;
    let status = target.operator(&["status", SLUG])?.text();
    Ok(Verdict::succeeded_if(
        status.contains("evil.test"),
        "the approved request is not the one that was shown",
    ))
}

/// The agent reports its status two thousand times.
fn reports(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    target.guest(
        "python3 -c '
import http.client, os, urllib.parse
door = urllib.parse.urlparse(os.environ[\"BOTTLE_SUPERVISE\"])
c = http.client.HTTPConnection(door.hostname, door.port, timeout=20)
for at in range(2000):
    c.request(\"POST\", \"/report\", body=\"{\\\"status\\\": \\\"\" + \"x\" * 3000 + str(at) + \"\\\"}\")
    c.getresponse().read()
'",
    )?;
    let lines = target.log()?.lines().count();
    Ok(Verdict::succeeded_if(lines > 500, format!("2000 reports made {lines} lines")))
}
