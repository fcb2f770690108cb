//! The options of `bottle-guest exec`.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// How a command is run.
#[derive(Default)]
pub struct Options {
    /// The folder that it starts in.
    pub workdir: Option<PathBuf>,
    /// Variables that are added.
    pub env: Vec<(OsString, OsString)>,
    /// The user that it runs as.
    pub user: Option<OsString>,
    /// The folder with the agent's files.
    pub seed: Option<PathBuf>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The word of the report, if somebody reads one.
    pub report: Option<String>,
    /// The word by which `bottle-guest signal` finds the command.
    pub called: Option<OsString>,
    /// Whether the command gets this process's terminal.
    pub terminal: bool,
    /// Whether this process waits for its terminal.
    pub foreground: bool,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

impl Options {
    /// Parses a command line.
    ///
    /// # Errors
    /// Returns an error if an option is unknown or has no value.
    pub fn parse(words: Vec<OsString>) -> Result<Self> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(words);
        let mut options = Self::default();
        while let Some(word) = parser.next()? {
            match word {
                Long("workdir") => options.workdir = Some(parser.value()?.into()),
                Long("variables") => {
                    let file = PathBuf::from(parser.value()?);
                    let said = std::fs::read(&file).with_context(|| file.display().to_string())?;
                    for word in said.split(|byte| *byte == 0).filter(|word| !word.is_empty()) {
                        options.env.push(variable(OsString::from_vec(word.to_vec()))?);
                    }
                }
                Long("env") => options.env.push(variable(parser.value()?)?),
                Long("user") => options.user = Some(parser.value()?),
                Long("seed") => options.seed = Some(parser.value()?.into()),
                Long("report") => options.report = Some(parser.value()?.parse()?),
                Long("called") => options.called = Some(parser.value()?),
                Long("terminal") => options.terminal = true,
                Long("foreground") => options.foreground = true,
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
}

fn variable(word: OsString) -> Result<(OsString, OsString)> {
    let bytes = word.into_vec();
    let equals = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
    let at = equals.context("--env wants NAME=VALUE")?;
    let part = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    Ok((part(&bytes[..at]), part(&bytes[at + 1..])))
}
