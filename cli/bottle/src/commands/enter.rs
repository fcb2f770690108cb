//! `bottle exec` and `bottle shell`: run a command in a bottle that is up.

use super::context::Context;
use super::watched::{self, SLACK};
use crate::ended::{By, Ended as HowEnded, How, TIMED_OUT};
use crate::lifecycle::signals::{Ended, Events, GRACE, Patience, wait};
use crate::lifecycle::typing;
use bottle_core::execution::Execution;
use bottle_core::slug::Slug;
use bottle_core::visible::{Json, Line};
use bottle_guest::status::exit_code;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::Terminal;
use bottle_host::terminal::{self, Kept};
use bottle_host::tools;
use bottle_host::workspace::Places;
use rustix::process::Signal;
use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

pub fn exec(
    context: &Context,
    slug: Option<Slug>,
    how: &Execution,
    terminal: Option<Terminal>,
    words: &[String],
) -> Outcome<ExitCode> {
    let folder = context.running(slug)?;
    let slug = folder.slug();
    let terminal = terminal.unwrap_or_else(Terminal::here);
    let how = terminal::given(how, terminal);
    // The bottle was checked when it started.
    let mut call = tools::smolvm()?.exec(slug, terminal, &how.words(words));
    let cannot = |error| Failure::new(Kind::Internal, format!("cannot run smolvm: {error}"));
    if terminal == Terminal::Pipe && how.timeout.is_none() {
        return Err(cannot(call.exec()));
    }
    let events = Events::catch()?;
    let kept = (terminal == Terminal::Tty).then(Kept::here).flatten();
    let places = kept.as_ref().and_then(|_| Places::of(&folder, &folder.read_plan().ok()?));
    let typing = typing::Prepared::of(&mut call, places);
    die_with_parent(&mut call, Signal::TERM);
    let mut child = call.spawn().map_err(cannot)?;
    let typing = typing.map(|typing| typing.begin(&child)).transpose().map_err(anyhow::Error::from)?;
    let limit = how.timeout.and_then(|timeout| timeout.checked_add(SLACK));
    let patience = Patience { limit, grace: GRACE };
    let ended = wait(&mut child, &events, terminal, None, patience);
    drop((typing, kept));
    match ended? {
        Ended::Status(status) => Ok(exit_code(status)),
        Ended::Signal(signal) => Ok(ExitCode::from(128_u8.saturating_add(signal))),
        Ended::Late => {
            context.say(&format!("the guest of {slug} did not end the command, and was left with it"));
            Ok(ExitCode::from(TIMED_OUT))
        }
    }
}

/// Takes over the descriptor that a caller named for the report. No child gets it.
///
/// # Errors
/// Returns [`Kind::Usage`] if it is not open.
pub fn to_report_on(number: i32) -> Outcome<File> {
    // SAFETY: the number is only asked about; if it is not open, that is the answer.
    #[expect(unsafe_code, reason = "a descriptor that a caller passed has no owner until it is given one")]
    let named = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(named)
        .and_then(|_| rustix::io::fcntl_dupfd_cloexec(named, 3))
        .map(File::from)
        .map_err(|error| {
            Failure::new(Kind::Usage, format!("--status-fd {number}: {error}"))
                .help("name a descriptor that is open for writing, as `3> FILE` opens one in a shell")
        })
}

/// Runs a command, and says at its end how it ended.
///
/// # Errors
/// Returns an error if it could not be called, which the report says, too.
pub fn watched(
    context: &Context,
    slug: Option<Slug>,
    how: &Execution,
    most: Option<u64>,
    report: Option<File>,
    words: &[String],
) -> Outcome<ExitCode> {
    let called = watched::run(context, slug, how, most, words);
    let ended = called.as_ref().map_or_else(HowEnded::failed, Clone::clone);
    let is_told = report.is_some();
    if let Some(mut report) = report {
        let text = serde_json::to_string(&ended).map_err(anyhow::Error::from)?;
        // Whoever does not read it does not need it.
        let _ = writeln!(report, "{}", Json(&text));
    }
    called?;
    if let (By::Bottle, false, Some(message)) = (ended.by, is_told, &ended.message) {
        if ended.how == How::OutputLimit {
            return Err(Failure::new(Kind::TooLarge, message.clone()).help("--max-output allows more"));
        }
        out::remark(Line(message));
    }
    Ok(ExitCode::from(ended.status))
}
