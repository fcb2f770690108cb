//! A short soak: every byte arrives, every answer is right, nothing is left over. The long one is
//! `make soak`.

use bottle_harness::place::Place;
use std::process::Command;

#[test]
fn a_few_seconds_of_mixed_traffic_leave_nothing_behind() {
    let program =
        Place::find().expect("a built checkout: run `make build`").program("bottle-harness").unwrap();
    let output = Command::new(program).args(["soak", "--minutes", "0.1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("no leak, no stall").count(), 2, "{said}");
}
