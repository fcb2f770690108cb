//! What only a real smolvm guest can show. Without KVM it runs in the outer machine.
//!
//! An emulated guest takes minutes, and freezes where others take its processors. So these tests are a program
//! of their own, and one outer machine runs at a time.

use anyhow::Result;
use bottle_host::process::die_with_parent;
use bottle_tests::checkout;
use rustix::process::Signal;
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The harness's jobs, the longest first.
const JOBS: [&[&str]; 5] = [
    &["agents", "--guest", "real", "--only", "codex,claude"],
    &["conformance", "--guest", "real", "--only", "bottle,neither,virtio-net"],
    &["life"],
    &["ways-back", "--guest", "real", "--only", "cp-file-becomes-hook"],
    &["demo"],
];

/// The statuses of a job that shows nothing either way, because the guest or the outer machine did not
/// survive. Such a job is tried once more.
const INCONCLUSIVE: [i32; 2] = [75, 125];

static OUTPUTS: [OnceLock<Result<Output>>; JOBS.len()] = [const { OnceLock::new() }; JOBS.len()];
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Returns the result of a job, and runs it if nobody has yet.
fn result(job: usize) -> &'static Result<Output> {
    OUTPUTS[job].get_or_init(|| {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new(checkout().program("bottle-harness")?);
        command.args(JOBS[job]).envs(checkout().variables(&[])?);
        // A job must not outlive the tests.
        die_with_parent(&mut command, Signal::KILL);
        let output = command.output()?;
        let is_inconclusive = output.status.code().is_some_and(|code| INCONCLUSIVE.contains(&code));
        Ok(if is_inconclusive { command.output()? } else { output })
    })
}

/// Waits for a job and returns its output. It must have succeeded.
fn output_of(job: &str) -> String {
    let job = JOBS.iter().position(|words| words[0] == job).unwrap();
    let output = result(job).as_ref().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    said
}

#[test]
fn the_demos_claims_hold_in_a_real_guest() {
    let said = output_of("demo");
    assert!(said.matches("\nok ").count() >= 20, "{said}");
}

#[test]
fn a_bottle_survives_a_dead_keeper_and_a_restart() {
    let said = output_of("life");
    assert!(said.matches("ok ").count() >= 15, "{said}");
}

/// `make conformance` judges every subject in a real guest. These are bottle and two networks that must be
/// found leaking: without them the first would prove nothing.
#[test]
fn a_real_guest_is_isolated_by_bottle_and_leaks_in_stock_networks() {
    let said = output_of("conformance");
    for (subject, verdict) in [("bottle", "isolated"), ("neither", "leaks"), ("virtio-net", "leaks")] {
        let row = said.lines().find(|line| line.split_whitespace().next() == Some(subject)).expect(&said);
        assert_eq!(row.split_whitespace().nth(1), Some(verdict), "{said}");
    }
}

/// `make ways-back` makes every attack. This is one that a virtual machine carries all the way.
#[test]
fn an_attack_by_a_real_guest_is_held_and_succeeds_without_its_defence() {
    let said = output_of("ways-back");
    assert!(said.contains("ways-back: 1 attacks, 1 held, 1 witnesses seen"), "{said}");
}

/// `make agents GUEST=real` runs every agent there.
#[test]
fn two_real_agents_do_their_work_in_real_guests_and_never_see_the_key() {
    let said = output_of("agents");
    for agent in ["codex", "claude"] {
        let passed = |line: &str| line.starts_with(agent) && line.split_whitespace().nth(3) == Some("ok");
        assert!(said.lines().any(passed), "{agent}: {said}");
    }
}
