//! The command as a user runs it. One program for all tests links once, and no test waits for those of
//! another file.
//!
//! Each test has an environment of its own. A test that needs namespaces of its own, or their processes,
//! runs itself again there (`bottle_tests::alone`). No test changes this process.

mod audit;
mod cases;
mod clients;
mod confine;
mod conformance;
mod copy;
mod crash;
mod day;
mod docs;
mod git_gate;
mod input;
mod lifecycle;
mod load;
mod ownership;
mod provenance;
mod repositories;
mod run;
mod shown;
mod smolfile;
mod soak;
mod supervise;
mod upstream;
mod verify;
mod workspace;

// Tests run in the order of their names, and these are the last ones.
#[path = "real_guest.rs"]
mod z_real_guest;

/// The first test starts the real guests, which need minutes, in the background.
#[test]
fn a_first_test_starts_real_guests_in_the_background() {
    z_real_guest::start();
}
