//! `bottle-guest exec`: runs a command as the operator asked: where, as whom, with which variables, from which
//! seeded files, and for how long.
//!
//! smolvm runs a command as root in the machine's own folder and environment. Everything else is done here, in the
//! guest, without a shell, so that no word of the operator's is parsed twice.

mod descendants;
pub mod end;
mod foreground;
mod options;
mod seed;
pub mod signal;
mod supervise;
pub mod user;

use crate::report::{Code, How, Report};
use crate::status::not_run;
use anyhow::{Context, Result, bail};
use options::Options;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use user::User;

/// The status of a command that was ended at its deadline: that of `timeout` in coreutils.
const TIMED_OUT: u8 = 124;

/// Runs `bottle-guest exec`, which becomes the command, or watches it if it has a deadline or somebody wants a report.
///
/// # Errors
/// Returns an error if the user, the folder or the seeded files are wrong. A command that cannot be run is no error but
/// a status, as in a shell. Where somebody wants a report, every error is in there.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let options = Options::parse(words)?;
    let Some(word) = options.report.clone() else { return run(options) };
    let (timeout, program) = (options.timeout, options.command.first().cloned().unwrap_or_default());
    let report = match prepare(options).and_then(|process| supervise::run(process, timeout, false)) {
        Ok(report) => report,
        Err(error) => Report {
            how: How::NotRun,
            status: None,
            signal: None,
            code: Some(Code::of(&error)),
            message: Some(format!("cannot run {}: {error:#}", program.display())),
        },
    };
    report.write(&mut std::io::stderr().lock(), &word)?;
    Ok(ExitCode::from(status(&report)))
}

/// Returns the status of a command as a shell gives it.
fn status(report: &Report) -> u8 {
    match (report.how, report.code) {
        (How::Exited, _) => report.status.unwrap_or(1),
        (How::TimedOut, _) => TIMED_OUT,
        (How::Interrupted, _) => 143,
        (How::NotRun, Some(Code::NotFound)) => 127,
        (How::NotRun, _) => 126,
    }
}

fn run(options: Options) -> Result<ExitCode> {
    let Options { timeout, terminal, foreground, .. } = options;
    let is_called = options.called.is_some();
    let mut process = if terminal { foreground::command(options)? } else { prepare(options)? };
    if foreground {
        foreground::wait_for_it();
    }
    match (timeout, terminal) {
        (None, true) => return foreground::run(process, true),
        (None, false) if is_called => {
            // Its group is what a signal is sent to.
            process.process_group(0);
            return foreground::run(process, false);
        }
        (None, false) => {
            let error = process.exec();
            return Ok(not_run(process.get_program(), &error));
        }
        (Some(_), _) => {}
    }
    let report = supervise::run(process, timeout, terminal)?;
    if let Some(message) = &report.message {
        eprintln!("bottle: {message}");
    }
    Ok(ExitCode::from(status(&report)))
}

/// Makes this process the user that was named, in the folder that was named, and returns the command to run there.
fn prepare(options: Options) -> Result<Command> {
    let Options { workdir, env, user, seed, foreground, command, .. } = options;
    let [program, arguments @ ..] = command.as_slice() else { bail!("there is no command") };
    let mut process = Command::new(program);
    process.args(arguments);
    let user = user.map(|named| User::find(&named)).transpose()?;
    if let Some(user) = &user {
        process.envs(user.environment());
    }
    process.envs(env);
    if foreground {
        foreground::localize(&mut process);
    }
    if let Some(user) = &user {
        user.become_it()?;
    }
    if let Some(seed) = seed {
        let home = match user {
            Some(user) => user.home,
            None => std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from),
        };
        seed::plant(&seed, &home)
            .with_context(|| format!("cannot write the agent's files to {}", home.display()))?;
    }
    if let Some(folder) = workdir {
        // The user may not be allowed to enter what root may.
        std::env::set_current_dir(&folder).with_context(|| folder.display().to_string())?;
    }
    Ok(process)
}
