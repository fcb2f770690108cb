//! What only a real smolvm guest can show. Where there is no KVM it runs in the outer machine.

use bottle_harness::place::Place;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One outer machine at a time: two emulated ones would starve each other.
static ONE: Mutex<()> = Mutex::new(());

/// The guest did not come through, or the outer machine itself did not: it shows nothing either
/// way, and is tried once more.
const INCONCLUSIVE: [i32; 2] = [75, 125];

/// What a job of the harness says, if it ends well.
fn said(job: &[&str]) -> String {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::find().expect("a built checkout: run `make build`");
    let run = || {
        let mut command = Command::new(place.program("bottle-harness").unwrap());
        command.args(job).envs(place.environment(&[]).unwrap()).output().unwrap()
    };
    let mut output = run();
    if output.status.code().is_some_and(|code| INCONCLUSIVE.contains(&code)) {
        output = run();
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn the_demo_shows_in_a_real_guest_what_it_claims() {
    let said = said(&["demo"]);
    assert!(said.matches("\nok ").count() >= 20, "{said}");
}

#[test]
fn a_bottle_lives_through_a_dead_keeper_and_a_restart() {
    let said = said(&["life"]);
    assert!(said.matches("ok ").count() >= 15, "{said}");
}

/// `make conformance` judges every subject in a real guest. Here are bottle, and two networks that
/// must be found leaking: without them the first would prove nothing.
#[test]
fn in_a_real_guest_bottle_isolates_and_stock_networks_leak() {
    let said = said(&["conformance", "--guest", "real", "--only", "bottle,neither,virtio-net"]);
    for (subject, verdict) in [("bottle", "isolated"), ("neither", "leaks"), ("virtio-net", "leaks")] {
        let row = said.lines().find(|line| line.split_whitespace().next() == Some(subject)).expect(&said);
        assert_eq!(row.split_whitespace().nth(1), Some(verdict), "{said}");
    }
}

/// `make ways-back` makes them all. Here is one that a virtual machine carries all the way.
#[test]
fn what_comes_back_from_a_real_guest_is_held_and_would_not_be_without_its_defence() {
    let said = said(&["ways-back", "--guest", "real", "--only", "cp-file-becomes-hook"]);
    assert!(said.contains("ways-back: 1 attacks, 1 held, 1 witnesses seen"), "{said}");
}
