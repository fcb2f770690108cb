//! The `bottle` command: see the library.

use bottle::{args::Args, commands, defence::Defence, out};
use bottle_core::visible;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if !Defence::Visible.stands() {
        visible::take_away();
    }
    let args = Args::try_parse().unwrap_or_else(|error| out::usage(&error));
    commands::dispatch(args).unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.code()
    })
}
