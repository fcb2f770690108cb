//! The `bottle` command: see the library.

use bottle::trust::programs;
use bottle::{args::Args, commands, suggest};
use bottle_core::visible;
use bottle_host::{defence::Defence, out, process};
use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;
use std::process::ExitCode;

fn main() -> ExitCode {
    if !Defence::Visible.stands() {
        visible::take_away();
    }
    // A shell that asks what could be typed here says so in the environment.
    CompleteEnv::with_factory(Args::command).bin("bottle").complete();
    let args = Args::try_parse()
        .unwrap_or_else(|error| out::usage(&suggest::for_people(readable(error), &Args::command())));
    if !args.command.is_own() {
        process::keep_from_children();
    }
    // What a command starts has the PATH that the command had.
    let path = if args.command.is_own() { Ok(()) } else { programs::with_own_path() };
    path.and_then(|()| commands::dispatch(args)).unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.code()
    })
}

/// The error about a command line that shows: a shell may have put the name of a guest's file there.
fn readable(error: clap::Error) -> clap::Error {
    let words = std::env::args_os().map(|word| {
        let text = word.to_string_lossy();
        if text.chars().any(visible::is_hidden) {
            visible::Line(&text).to_string()
        } else {
            text.into_owned()
        }
    });
    Args::try_parse_from(words).err().unwrap_or(error)
}
