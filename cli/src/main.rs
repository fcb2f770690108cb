//! The `bottle` command: see the library.

use bottle::trust::programs;
use bottle::{args::Args, commands, out};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    programs::with_own_path().and_then(|()| commands::dispatch(args)).unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.code()
    })
}
