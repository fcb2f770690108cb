//! The `bottle` command: see the library.

use bottle::args::{Args, Command, Document};
use bottle::printed::printed_by;
use bottle::trust::programs;
use bottle::{commands, suggest};
use bottle_core::visible;
use bottle_host::{defence::Defence, out, process, state};
use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    if !Defence::Visible.stands() {
        visible::take_away();
    }
    // A shell that completes a command line says so in the environment.
    let completer = CompleteEnv::with_factory(Args::command).bin("bottle");
    match completer.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => {}
        Ok(true) => return out::written(Ok(())),
        Err(error) => return out::written(Err(cause(&error))),
    }
    let args = match Args::try_parse_from(words()) {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr()
                && let Some(name) = Document::wanted(std::env::args_os().skip(1))
            {
                out::answer_as(&name);
            }
            return out::usage(&suggest::for_people(readable(error), &Args::command()));
        }
    };
    if let Some(document) = printed_by(&args.command) {
        out::answer_as(&document.name());
    }
    if let Some(Err(failure)) = args.state_dir.as_deref().map(state::choose) {
        return out::end(Err(failure));
    }
    let internal = matches!(args.command, Command::Internal(_));
    if !internal {
        process::keep_from_children();
    }
    // Every program that a command starts has the PATH that the command had.
    let path = if internal { Ok(()) } else { programs::with_own_path() };
    out::end(path.and_then(|()| commands::dispatch(args)))
}

/// Returns the command line. `bottle` alone, or with nothing but how to say it, says what is useful next.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let how = ["-q", "--quiet", "-v", "--verbose"];
    if words.iter().skip(1).all(|word| how.iter().any(|known| word == known)) {
        words.push("next".into());
    }
    // People and other tools write `help` for what `--help` is here.
    let first = words.iter().skip(1).position(|word| !how.iter().any(|known| word == known));
    if let Some(at) = first.map(|at| at + 1).filter(|at| words[*at] == "help") {
        words.remove(at);
        words.push("--help".into());
    }
    words
}

/// Returns why a shell's question could not be answered. clap keeps only the text of a write error.
fn cause(error: &clap::Error) -> io::Error {
    let kind = if out::is_abandoned() { io::ErrorKind::BrokenPipe } else { io::ErrorKind::Other };
    let text = error.to_string();
    io::Error::new(kind, text.trim().trim_start_matches("error: ").to_owned())
}

/// Makes clap's error safe to print: a shell may have put the name of a guest's file into the command line.
fn readable(error: clap::Error) -> clap::Error {
    let words = words().into_iter().map(|word| {
        let text = word.to_string_lossy();
        if text.chars().any(visible::is_hidden) {
            visible::Line(&text).to_string()
        } else {
            text.into_owned()
        }
    });
    Args::try_parse_from(words).err().unwrap_or(error)
}
