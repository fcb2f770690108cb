//! The only way out to a terminal.
//!
//! Everything that a command prints passes through here, and nothing that controls a terminal does: any line
//! may hold a field that a guest wrote. Callers show such a field with [`bottle_core::visible`] so that it
//! cannot break its line either, but this layer does not rely on it. Colours are added here. The lints
//! `print_stdout` and `print_stderr` keep every other module from printing.
//!
//! The output of a guest's own program (`run`, `exec`, `shell`) is not bottle's output: it goes to the
//! terminal as it is.

use crate::failure::{Failure, Kind, Outcome, quoted};
use anstyle::Style;
use bottle_core::visible::{Block, Json};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Prints one or more lines on standard output.
///
/// # Errors
/// Returns [`Kind::ReaderGone`] if nobody reads any more, and [`Kind::Output`] if it cannot be written.
pub fn line(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| writeln!(out, "{}", shown(&text)))
}

/// Prints a line like [`line`], with the arguments of `println!`.
#[macro_export]
macro_rules! outln {
    ($($words:tt)*) => { $crate::out::line(format_args!($($words)*)) };
}

/// Prints text that ends its own lines.
///
/// # Errors
/// Returns the same errors as [`line`].
pub fn text(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| write!(out, "{}", shown(&text)))
}

/// Prints a line of pieces, each in its style if the terminal shows styles.
///
/// # Errors
/// Returns the same errors as [`line`].
pub fn styled(pieces: &[(Style, String)]) -> Outcome {
    write(|_| {
        let mut out = anstream::AutoStream::auto(io::stdout()).lock();
        for (style, text) in pieces {
            write!(out, "{style}{}{style:#}", shown(text))?;
        }
        writeln!(out)
    })
}

/// Prints a value as JSON. Characters that could control a terminal are escaped inside its strings.
///
/// # Errors
/// Returns the same errors as [`line`].
pub fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// Returns the same errors as [`line`].
pub fn json_line(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints bytes as they are: a completion script, a manual page. Never use it for what a guest wrote.
///
/// # Errors
/// Returns the same errors as [`line`].
pub fn raw(bytes: &[u8]) -> Outcome {
    write(|out| out.write_all(bytes))
}

/// Prints a remark on standard error, beside the result. Nobody needs to be there to read it.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "bottle: {}", shown(&quoted(text.to_string().trim_end())));
}

/// Prints what went wrong.
pub fn failure(failure: &Failure) {
    if failure.kind() != Kind::ReaderGone {
        let _ = writeln!(io::stderr(), "{}", shown(&failure.to_string()));
    }
}

/// Prints what is wrong with the command line, or what it asked for (`--help`), and exits. A shell may have
/// put the name of a guest's file there.
pub fn usage(error: &clap::Error) -> ! {
    if error.use_stderr() {
        let _ = write!(io::stderr(), "{}", shown(&error.render().to_string()));
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// Asks a person a yes-or-no question. If nobody is there, the answer is no.
pub fn confirmed(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        note("there is nobody to ask; use --yes to go ahead without asking");
        return false;
    }
    let _ = write!(io::stderr(), "{} [y/N] ", shown(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

/// Returns whether a person is there to answer a question.
pub fn is_asked() -> bool {
    io::stdin().is_terminal() && is_watched()
}

/// Returns whether a person watches standard error.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn shown(text: &str) -> String {
    Block(text).to_string()
}

fn write(put: impl FnOnce(&mut io::StdoutLock) -> io::Result<()>) -> Outcome {
    let mut out = io::stdout().lock();
    put(&mut out).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::new(Kind::ReaderGone, "nobody reads the output any more"),
        _ => Failure::new(Kind::Output, format!("the output cannot be written: {error}")),
    })
}
