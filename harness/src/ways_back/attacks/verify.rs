//! Attacks on `bottle verify`: a guest whose helper lies about a hole, and one whose answers are meant to
//! exhaust the host.

use crate::environment::answer;
use crate::processes::descendants;
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{Ended, Target, Verdict};
use anyhow::{Context, Result};
use bottle_core::examine::Segment;
use bottle_core::helper::{GUEST_SOCKET, HELPER};
use bottle_core::plan::Plan;
use bottle_guest::probe::raw::hex;
use bottle_guest::probe::{Attempt, Question};
use bottle_host::defence::Defence;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::SocketAddrV4;

/// More memory than a bottle uses while it is verified, in bytes.
const MUCH: u64 = 300 << 20;
/// More than `verify` ever has to print, in bytes.
const LONG: usize = 200_000;

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    use Defence::{BoundedReads, VerifyFromHost};
    vec![
        Attack::new("verify-hides-a-gap-in-the-guard", VerifyFromHost, gap_in_the_guard),
        Attack::new("verify-hides-a-way-to-the-host", VerifyFromHost, way_to_the_host),
        Attack::new("verify-praises-a-dead-network", VerifyFromHost, dead_network),
        Attack::new("verify-drowned-in-feigned-frames", VerifyFromHost, feigned_frames),
        Attack::new("verify-endless-line", BoundedReads, endless_line),
        Attack::new("verify-endless-answers", BoundedReads, endless_answers),
        Attack::new("verify-endless-complaints", BoundedReads, endless_complaints),
        Attack::new("verify-impossible-numbers", BoundedReads, impossible_numbers),
        Attack::new("verify-floods-the-report", BoundedReads, flood_of_claims),
        Attack { name: "verify-never-ends", defence: BoundedReads, needs: Needs::Long, run: never_ends },
    ]
}

/// Returns a helper that answers every question as an isolated guest would, with this count of refusals,
/// these findings, and these additional fields.
fn forged(refused: &str, said: &str, more: &str) -> String {
    format!(
        r#"tr '{{' '\n' | sed -n 's/^"id":"\([^"]*\)".*/\1/p' | while read -r id; do
  said='{said}'
  case "$id" in witness*) said='[[1,"HTTP/1.1 403 Forbidden"]]';; esac
  printf '{{"id":"%s","said":%s,"accepted":[],"refused":{refused},"silent":0,"failed":0,"error":"","ms":1{more}}}\n' "$id" "$said"
done"#
    )
}

fn praise() -> String {
    forged("1", "[]", "")
}

/// The attack succeeds if `verify` was persuaded that the bottle is isolated.
fn judged(ended: &Ended) -> Result<Verdict> {
    let report = answer(&ended.output)?;
    let said = report["verdict"].as_str().context("a verdict")?;
    Ok(Verdict::succeeded_if(said == "isolated", "verify calls a bottle isolated that is not"))
}

/// The guard is gone, and the helper says that nothing was reached.
fn gap_in_the_guard(target: &mut Target) -> Result<Verdict> {
    target.up_without("", &[Defence::Guard])?;
    target.replace_helper(&praise())?;
    judged(&target.operator(&["verify", "--json"])?)
}

/// Both walls are gone, so that this machine's services can be reached.
fn way_to_the_host(target: &mut Target) -> Result<Verdict> {
    target.up_without("", &[Defence::Guard, Defence::Jail])?;
    target.replace_helper(&praise())?;
    judged(&target.operator(&["verify", "--json"])?)
}

/// The network is dead, so nothing could be tried, and the helper says that the doors answered.
fn dead_network(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper(&praise())?;
    let status = answer(&target.operator(&["status", "--json"])?.output)?;
    let keeper = u32::try_from(status["pid"].as_u64().context("the keeper's process")?)?;
    let is_stack = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "gvproxy")
    };
    let stack = descendants(keeper).into_iter().find(is_stack).context("the keeper's gvproxy")?;
    let stack = Pid::from_raw(i32::try_from(stack)?).context("a process")?;
    kill_process(stack, Signal::STOP)?;
    let ended = target.operator(&["verify", "--json"]);
    kill_process(stack, Signal::CONT)?;
    judged(&ended?)
}

/// The guest sends frames with every source port that an examination could use, so that an answer to one of
/// them might be taken for an answer to the examination.
fn feigned_frames(target: &mut Target) -> Result<Verdict> {
    target.up_without("", &[Defence::Guard])?;
    let plan: Plan = serde_json::from_slice(&fs::read(target.path("state/t/plan.json"))?)?;
    let guard = plan.guard();
    let door = SocketAddrV4::new(guard.proxy(), plan.doors.pipelock());
    let frame = |port| hex(&guard.tcp_frame(&Segment::syn(port, door, 7)));
    let frames: Vec<String> = (61_440..=u16::MAX).map(frame).collect();
    let socket = GUEST_SOCKET.to_owned();
    let attempt = Attempt::Raw { socket, frames, flood: 200_000, bytes: Vec::new() };
    let questions = serde_json::to_vec(&[Question { id: "flood".to_owned(), attempt }])?;
    target.into_guest("/tmp/questions", &questions)?;
    target.guest(&format!(
        "cp {HELPER} /tmp/honest; setsid /tmp/honest probe < /tmp/questions > /dev/null 2>&1 &"
    ))?;
    target.replace_helper(&praise())?;
    judged(&target.operator(&["verify", "--json"])?)
}

fn cost(ended: &Ended) -> Verdict {
    if ended.status.is_none() {
        return Verdict::Succeeded("verify did not end".to_owned());
    }
    if ended.peak > MUCH {
        return Verdict::Succeeded(format!("verify took {} MiB", ended.peak >> 20));
    }
    Verdict::succeeded_if(ended.output.len() > LONG, format!("verify printed {} bytes", ended.output.len()))
}

/// An endless line.
fn endless_line(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper("head -c 600000000 /dev/zero")?;
    Ok(cost(&target.operator(&["verify"])?))
}

/// Endless valid answers.
fn endless_answers(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let said = "a".repeat(60_000);
    let answer = format!(
        r#"{{"id":"a","said":[[1,"{said}"]],"accepted":[],"refused":1,"silent":0,"failed":0,"error":"","ms":1}}"#
    );
    target.into_guest("/tmp/answer", answer.as_bytes())?;
    target.replace_helper("yes \"$(cat /tmp/answer)\" | head -n 10000")?;
    Ok(cost(&target.operator(&["verify"])?))
}

/// The same on standard error, which is repeated when a guest's program fails.
fn endless_complaints(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper("yes complaint | head -c 20000000 >&2; exit 1")?;
    Ok(cost(&target.operator(&["verify"])?))
}

/// Numbers whose sum overflows.
fn impossible_numbers(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper(&forged(&u64::MAX.to_string(), "[]", ""))?;
    let ended = target.operator(&["verify"])?;
    let is_known =
        ended.status.and_then(|status| status.code()).is_some_and(|code| [0, 1, 75].contains(&code));
    Ok(Verdict::succeeded_if(!is_known || ended.text().contains("panicked"), "verify failed on a number"))
}

/// Ports that nobody asked about, no two of them adjacent, so that each would be printed.
fn flood_of_claims(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let ports: Vec<String> = (0..40_000).map(|port| (port * 2).to_string()).collect();
    target.into_guest("/tmp/ports", ports.join(",").as_bytes())?;
    let answering = forged("1", "[]", r#","vsock":[%s]"#)
        .replace("\"$id\" \"$said\"\ndone", "\"$id\" \"$said\" \"$(cat /tmp/ports)\"\ndone");
    target.replace_helper(&answering)?;
    Ok(cost(&target.operator(&["verify"])?))
}

/// The helper answers everything and then does not end.
fn never_ends(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper(&format!("{}\nexec sleep 1000", praise()))?;
    Ok(cost(&target.operator(&["verify"])?))
}
