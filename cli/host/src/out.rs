//! The only way out to a terminal.
//!
//! Everything that a command prints passes through here, and nothing that controls a terminal gets through:
//! any line may contain a field that a guest wrote. Callers show such a field with [`bottle_core::visible`],
//! so that it cannot break its line either, but this layer does not rely on that. Colours are added here. The
//! lints `print_stdout` and `print_stderr` keep every other module from printing.
//!
//! With `--json` a command prints one [`Envelope`], at its end: [`answer_as`] begins it, [`json`] and
//! [`note`] fill it, and [`end`] prints it.
//!
//! The output of a guest's own program (`run`, `exec`, `shell`) is not bottle's output, and goes to the
//! terminal unchanged.

use crate::envelope::{self, Envelope};
use crate::failure::{Failure, Kind, Outcome, quoted};
use anstyle::Style;
use bottle_core::visible::{Block, Json, Line};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a command with `--json` has collected for its envelope so far.
struct Answer {
    schema: String,
    data: Option<Value>,
    warnings: Vec<String>,
}

static ANSWER: Mutex<Option<Answer>> = Mutex::new(None);

fn answer() -> MutexGuard<'static, Option<Answer>> {
    ANSWER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the command's output one envelope with the data of the document `name`.
pub fn answer_as(name: &str) {
    *answer() = Some(Answer { schema: envelope::schema(name), data: None, warnings: Vec::new() });
}

/// Prints the result of a command, and returns its exit status.
pub fn end(result: Outcome<ExitCode>) -> ExitCode {
    let answer = answer().take();
    let failed = result.as_ref().err();
    if let Some(Answer { schema, data, warnings }) = answer
        && let Err(unwritten) = envelope(&Envelope::new(schema, data, warnings, failed))
    {
        failure(&unwritten);
        return unwritten.code();
    }
    match result {
        Ok(code) => code,
        Err(failed) => {
            failure(&failed);
            failed.code()
        }
    }
}

/// Prints one or more lines on standard output.
///
/// # Errors
/// Returns [`Kind::ReaderGone`] if nobody reads any more, and [`Kind::Output`] if the line cannot be written.
pub fn line(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| writeln!(out, "{}", shown(&text)))
}

/// Prints a line that a guest's program wrote for a terminal, without its colours.
///
/// # Errors
/// Returns an error as for [`line`].
pub fn guests(text: &str) -> Outcome {
    line(anstream::adapter::strip_str(text))
}

/// Prints a line like [`line`], with the arguments of `println!`.
#[macro_export]
macro_rules! outln {
    ($($words:tt)*) => { $crate::out::line(format_args!($($words)*)) };
}

/// Prints text that contains its own line ends.
///
/// # Errors
/// Returns an error as for [`line`].
pub fn text(text: impl Display) -> Outcome {
    let text = text.to_string();
    write(|out| write!(out, "{}", shown(&text)))
}

/// Prints a line made of pieces, each in its style if the terminal shows styles.
///
/// # Errors
/// Returns an error as for [`line`].
pub fn styled(pieces: &[(Style, String)]) -> Outcome {
    write(|_| {
        let mut out = anstream::AutoStream::auto(io::stdout()).lock();
        for (style, text) in pieces {
            write!(out, "{style}{}{style:#}", shown(text))?;
        }
        writeln!(out)
    })
}

/// Makes a value the data of the command's answer.
///
/// # Errors
/// Returns an error if the value cannot be represented in JSON.
pub fn json(value: &impl Serialize) -> Outcome {
    let value = serde_json::to_value(value).map_err(anyhow::Error::from)?;
    if let Some(answer) = &mut *answer() {
        answer.data = Some(value);
    }
    Ok(())
}

/// Prints an envelope. Characters that could control a terminal are escaped inside its strings.
fn envelope(envelope: &Envelope<Value>) -> Outcome {
    let text = serde_json::to_string_pretty(envelope).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// Returns an error as for [`line`].
pub fn json_line(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    write(|out| writeln!(out, "{}", Json(&text)))
}

/// Prints bytes unchanged: a completion script, a manual page. Never use it for anything that a guest wrote.
///
/// # Errors
/// Returns an error as for [`line`].
pub fn raw(bytes: &[u8]) -> Outcome {
    write(|out| out.write_all(bytes))
}

/// Prints a warning on standard error, beside the result. Errors are ignored.
pub fn note(text: impl Display) {
    let text = text.to_string();
    remark(&text);
    if let Some(answer) = &mut *answer() {
        answer.warnings.push(text.trim_end().to_owned());
    }
}

/// Prints on standard error what is being done, or was done. Errors are ignored.
pub fn remark(text: impl Display) {
    settle();
    let _ = writeln!(io::stderr(), "bottle: {}", shown(&quoted(text.to_string().trim_end())));
}

/// Whether a line on the terminal is to be replaced by whatever comes next.
static PASSING: AtomicBool = AtomicBool::new(false);

/// Shows on a terminal what is being done, in the place of what was shown there before. Empty text clears the
/// line.
pub fn passing(text: impl Display) {
    let mut stderr = io::stderr();
    PASSING.store(true, Relaxed);
    let width = rustix::termios::tcgetwinsize(&stderr).map_or(80, |size| usize::from(size.ws_col).max(20));
    let line: String = Line(&text.to_string()).to_string().chars().take(width - 1).collect();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}

/// Takes away what is passing, so that the next line begins at the left.
fn settle() {
    if PASSING.swap(false, Relaxed) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Prints what went wrong, unless the output has already shown it.
fn failure(failure: &Failure) {
    settle();
    if failure.kind() != Kind::ReaderGone && !failure.is_shown() {
        let _ = writeln!(io::stderr(), "{}", shown(&failure.to_string()));
    }
}

/// Prints what is wrong with the command line, or what it asked for (`--help`), and returns the exit status.
/// A shell may have put the name of a guest's file into the command line.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return end(write(|_| error.print()).map(|()| ExitCode::SUCCESS));
    }
    let text = error.render().to_string();
    let _ = write!(io::stderr(), "{}", shown(&text));
    let mut parts = text.trim_end().split("\n\n");
    let what = parts.next().unwrap_or_default();
    let hint = parts.find_map(|part| part.trim_start().strip_prefix("tip: "));
    let failed = Failure::new(Kind::Usage, what.strip_prefix("error: ").unwrap_or(what)).shown();
    end(Err(match hint {
        Some(hint) => failed.help(hint),
        None => failed.help("`bottle --help` shows how commands are written"),
    }))
}

/// Ends a command whose output was written by something else, like a library.
pub fn written(result: io::Result<()>) -> ExitCode {
    end(write(|_| result).map(|()| ExitCode::SUCCESS))
}

/// Returns whether nobody reads standard output any more. Nothing is written to find out.
pub fn is_abandoned() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let out = io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default())).is_ok()
        && polled[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

/// Asks a person a yes-or-no question. If nobody is there, the answer is no.
pub fn confirmed(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        note("there is nobody to ask; use --yes to go ahead without asking");
        return false;
    }
    settle();
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

/// Returns whether a line on standard error can be replaced: on a terminal that knows how.
pub fn is_repainted() -> bool {
    is_watched() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn shown(text: &str) -> String {
    Block(text).to_string()
}

fn write(put: impl FnOnce(&mut io::StdoutLock) -> io::Result<()>) -> Outcome {
    settle();
    let mut out = io::stdout().lock();
    put(&mut out).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => gone(),
        _ => Failure::new(Kind::Output, format!("the output cannot be written: {error}"))
            .help("free some space there, or redirect it"),
    })
}

/// Returns the failure of a command whose output nobody reads any more.
pub fn gone() -> Failure {
    Failure::new(Kind::ReaderGone, "nobody reads the output any more")
}
