//! The stand-in for smolvm. See `bottle_harness::stand_in`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bottle_harness::stand_in::main().unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}
