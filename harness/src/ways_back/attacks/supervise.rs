//! Attacks on supervise: an agent makes its operator decide what was not asked, or nothing at all.

use crate::ways_back::Attack;
use crate::ways_back::field::{Field, SLUG, Verdict};
use anyhow::{Result, ensure};
use bottle_host::defence::Defence;

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("supervise-yes-without-an-answer", Defence::AnswerNeeded, without_an_answer),
        Attack::new("supervise-decision-is-lost", Defence::DecisionKept, lost),
        Attack::new("supervise-number-means-another-wish", Defence::WishNumbers, another_wish),
        Attack::new("supervise-flood-of-reports", Defence::CountedRefusals, reports),
    ]
}

fn ask(question: &str, wait: u32) -> String {
    format!("-d '{{\"question\": \"{question}\", \"wait_seconds\": {wait}}}' $BOTTLE_SUPERVISE/ask")
}

/// "May I delete the production database?" is approved by reflex.
fn without_an_answer(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    let asked = format!("curl -sS -m 20 {}", ask("delete the database, or keep it?", 0));
    ensure!(field.guest(&asked)?.contains("undecided"), "it waits");
    field.operator(&["approve", "t.1"])?;
    field.operator(&["approve", "t.1", " "])?;
    let said = field.guest(&asked)?;
    Ok(Verdict::succeeded_if(said.contains("approved"), format!("the agent was told: {said}")))
}

/// The agent's call is gone when the operator decides; nobody told the keeper.
fn lost(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    field.guest(&format!("curl -sS -m 1 {} || true", ask("stop, or go on?", 300)))?;
    ensure!(field.operator(&["approve", "t.1", "stop"])?.is_well(), "approve");
    let said = field.guest(&format!("curl -sS -m 20 {}", ask("stop, or go on?", 0)))?;
    Ok(Verdict::succeeded_if(!said.contains("\"stop\""), format!("the agent was told: {said}")))
}

/// What the operator has seen as number 1 is another wish after the guest has brought its keeper down.
fn another_wish(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    field.guest(&format!("curl -sS -m 20 {}", ask("tabs or spaces?", 0)))?;
    ensure!(field.operator(&["inbox"])?.text().contains("t.1"), "inbox");
    ensure!(field.operator(&["stop", SLUG])?.is_well(), "stop");
    ensure!(field.operator(&["up"])?.is_well(), "up");
    let request = "curl -sS -m 20 -d '{\"host\": \"evil.test\", \"reason\": \"x\", \"wait_seconds\": 0}' $BOTTLE_SUPERVISE/request_host";
    field.guest(request)?;
    field.operator(&["approve", "t.1", "tabs"])?;
    let status = field.operator(&["status", SLUG])?.text();
    Ok(Verdict::succeeded_if(
        status.contains("evil.test"),
        "another wish was approved than the one that was shown",
    ))
}

/// The agent says what it does, two thousand times.
fn reports(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    field.guest(
        "python3 -c '
import http.client, os, urllib.parse
door = urllib.parse.urlparse(os.environ[\"BOTTLE_SUPERVISE\"])
c = http.client.HTTPConnection(door.hostname, door.port, timeout=20)
for at in range(2000):
    c.request(\"POST\", \"/report\", body=\"{\\\"status\\\": \\\"\" + \"x\" * 3000 + str(at) + \"\\\"}\")
    c.getresponse().read()
'",
    )?;
    let lines = field.log()?.lines().count();
    Ok(Verdict::succeeded_if(lines > 500, format!("2000 reports made {lines} lines")))
}
