//! The demo's claims, asserted in a real smolvm guest.

use bottle_harness::place::Place;
use std::process::Command;

#[test]
fn the_demo_shows_in_a_real_guest_what_it_claims() {
    let place = Place::find().expect("a built checkout: run `make build`");
    let output = Command::new(place.program("bottle-harness").unwrap())
        .arg("demo")
        .envs(place.environment(&[]).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.matches("\nok ").count() >= 20, "{said}");
}
