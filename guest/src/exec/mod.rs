//! `bottle-guest exec`: runs a command as the operator asked: where, as whom, with which variables, from which
//! seeded files, and for how long.
//!
//! smolvm runs a command as root in the machine's own folder and environment. Everything else is done here, in the
//! guest, without a shell, so that no word of the operator's is parsed twice.

mod descendants;
pub mod end;
mod seed;
mod supervise;
pub mod user;

use crate::report::{Code, How, Report};
use crate::status::not_run;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;
use user::User;

/// The status of a command that was ended at its deadline: that of `timeout` in coreutils.
const TIMED_OUT: u8 = 124;

#[derive(Default)]
struct Options {
    workdir: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    user: Option<OsString>,
    seed: Option<PathBuf>,
    timeout: Option<Duration>,
    report: Option<String>,
    command: Vec<OsString>,
}

/// Runs `bottle-guest exec`, which becomes the command, or watches it if it has a deadline or somebody wants a report.
///
/// # Errors
/// Returns an error if the user, the folder or the seeded files are wrong. A command that cannot be run is no error but
/// a status, as in a shell. Where somebody wants a report, every error is in there.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let options = parse(words)?;
    let Some(word) = options.report.clone() else { return run(options) };
    let (timeout, program) = (options.timeout, options.command.first().cloned().unwrap_or_default());
    let report = match prepare(options).and_then(|process| supervise::run(process, timeout)) {
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
    let timeout = options.timeout;
    let mut process = prepare(options)?;
    if timeout.is_none() {
        let error = process.exec();
        return Ok(not_run(process.get_program(), &error));
    }
    let report = supervise::run(process, timeout)?;
    if let Some(message) = &report.message {
        eprintln!("bottle: {message}");
    }
    Ok(ExitCode::from(status(&report)))
}

/// Makes this process the user that was named, in the folder that was named, and returns the command to run there.
fn prepare(options: Options) -> Result<Command> {
    let Options { workdir, env, user, seed, command, .. } = options;
    let [program, arguments @ ..] = command.as_slice() else { bail!("there is no command") };
    let mut process = Command::new(program);
    process.args(arguments);
    let user = user.map(|named| User::find(&named)).transpose()?;
    if let Some(user) = &user {
        process.envs(user.environment());
    }
    process.envs(env);
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

fn parse(words: Vec<OsString>) -> Result<Options> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = Options::default();
    while let Some(word) = parser.next()? {
        match word {
            Long("workdir") => options.workdir = Some(parser.value()?.into()),
            Long("variables") => {
                let file = PathBuf::from(parser.value()?);
                let said = std::fs::read(&file).with_context(|| file.display().to_string())?;
                let words = said.split(|byte| *byte == 0).filter(|word| !word.is_empty());
                for word in words {
                    options.env.push(variable(OsString::from_vec(word.to_vec()))?);
                }
            }
            Long("env") => options.env.push(variable(parser.value()?)?),
            Long("user") => options.user = Some(parser.value()?),
            Long("seed") => options.seed = Some(parser.value()?.into()),
            Long("report") => options.report = Some(parser.value()?.parse()?),
            Long("timeout-ms") => options.timeout = Some(Duration::from_millis(parser.value()?.parse()?)),
            Value(first) => {
                options.command.push(first);
                options.command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn variable(word: OsString) -> Result<(OsString, OsString)> {
    let bytes = word.into_vec();
    let equals = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
    let at = equals.context("--env wants NAME=VALUE")?;
    let part = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    Ok((part(&bytes[..at]), part(&bytes[at + 1..])))
}
