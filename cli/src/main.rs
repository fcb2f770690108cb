//! The `bottle` command: see the library.

use bottle::{args::Args, commands, out};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    commands::dispatch(Args::parse()).unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.code()
    })
}
