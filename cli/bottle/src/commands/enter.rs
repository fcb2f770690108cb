//! `bottle exec` and `bottle shell`: run a command in a bottle that is up.

use super::context::Context;
use crate::lifecycle::signals::{Ended, Events, wait};
use bottle_core::execution::Execution;
use bottle_core::slug::Slug;
use bottle_guest::status::exit_code;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::Terminal;
use bottle_host::tools;
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

/// The status of a command that was ended because its time was over, as that of `timeout` in coreutils.
pub const TIMED_OUT: u8 = 124;
/// How much longer than its command a call may take before it is given up on. The helper in the guest ends the command;
/// a guest can end the helper.
const SLACK: Duration = Duration::from_secs(30);

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
    // The bottle was checked when it started.
    let mut call = tools::smolvm()?.exec(slug, terminal, &how.words(words));
    let cannot = |error| Failure::new(Kind::Internal, format!("cannot run smolvm: {error}"));
    let Some(timeout) = how.timeout else { return Err(cannot(call.exec())) };
    let events = Events::catch()?;
    die_with_parent(&mut call, Signal::TERM);
    let mut child = call.spawn().map_err(cannot)?;
    match wait(&mut child, &events, terminal, None, timeout.checked_add(SLACK))? {
        Ended::Status(status) => Ok(exit_code(status)),
        Ended::Signal(signal) => Ok(ExitCode::from(128_u8.saturating_add(signal))),
        Ended::Late => {
            context.say(&format!("the guest of {slug} did not end the command, and was left with it"));
            Ok(ExitCode::from(TIMED_OUT))
        }
    }
}
