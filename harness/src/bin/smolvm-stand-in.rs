//! The stand-in for smolvm. `bottle_harness::stand_in` says what it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    bottle_harness::stand_in::main().unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}
