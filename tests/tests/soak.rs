//! A short soak: every byte arrives, every answer is right, nothing is left over. `make soak` is the long
//! one.

use bottle_tests::checkout;
use std::process::Command;

#[test]
fn a_few_seconds_of_mixed_traffic_leave_nothing_behind() {
    let program = checkout().program("bottle-harness").unwrap();
    let output = Command::new(program).args(["soak", "--minutes", "0.1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("no leak, no stall").count(), 2, "{said}");
}
