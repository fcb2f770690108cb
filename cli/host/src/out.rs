//! The one way out to a terminal.
//!
//! Whatever a command prints passes through here, and nothing that steers a terminal does: a field
//! that a guest wrote may be in any line. Callers show such a field with [`bottle_core::visible`] so
//! that it cannot break its line either; this layer does not rely on it. Colours are added here.
//! The lints `print_stdout` and `print_stderr` keep every other module from printing.
//!
//! What a guest's own program prints (`run`, `exec`, `shell`) is not bottle's output: it goes to the
//! terminal as it comes.

use crate::failure::{Failure, Kind, Outcome, quoted};
use anstyle::Style;
use bottle_core::visible::{Block, Json};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Prints a line, or several, on standard output.
///
/// # Errors
/// [`Kind::ReaderGone`] where nobody reads any more, [`Kind::Output`] where it cannot be written.
pub fn line(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| writeln!(out, "{}", shown(&text)))
}

/// [`line`], as `println!` takes it.
#[macro_export]
macro_rules! outln {
    ($($words:tt)*) => { $crate::out::line(format_args!($($words)*)) };
}

/// Prints text that ends its own lines.
///
/// # Errors
/// As for [`line`].
pub fn text(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| write!(out, "{}", shown(&text)))
}

/// Prints a line of pieces, each in its style where a terminal shows styles.
///
/// # Errors
/// As for [`line`].
pub fn styled(pieces: &[(Style, String)]) -> Outcome {
    write(|_| {
        let mut out = anstream::AutoStream::auto(io::stdout()).lock();
        for (style, text) in pieces {
            write!(out, "{style}{}{style:#}", shown(text))?;
        }
        writeln!(out)
    })
}

/// Prints a value as JSON. What a terminal must not see is escaped inside its strings.
///
/// # Errors
/// As for [`line`].
pub fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As for [`line`].
pub fn json_line(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints bytes as they are: a completion script, a manual page. Never what a guest wrote.
///
/// # Errors
/// As for [`line`].
pub fn raw(bytes: &[u8]) -> Outcome {
    write(|out| out.write_all(bytes))
}

/// Says something beside the result, on standard error. Nobody has to be there to hear it.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "bottle: {}", shown(&quoted(text.to_string().trim_end())));
}

/// Says what went wrong.
pub fn failure(failure: &Failure) {
    if failure.kind() != Kind::ReaderGone {
        let _ = writeln!(io::stderr(), "{}", shown(&failure.to_string()));
    }
}

/// Says what is wrong with the command line, or what it asked for (`--help`), and ends. A shell may
/// have put the name of a guest's file there.
pub fn usage(error: &clap::Error) -> ! {
    if error.use_stderr() {
        let _ = write!(io::stderr(), "{}", shown(&error.render().to_string()));
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// Asks a person a question with yes or no. Nobody there means no.
pub fn confirmed(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        note("there is nobody to ask; --yes goes on without");
        return false;
    }
    let _ = write!(io::stderr(), "{} [y/N] ", shown(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

/// Whether a person is there to answer a question.
pub fn is_asked() -> bool {
    io::stdin().is_terminal() && is_watched()
}

/// Whether a person watches standard error.
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
