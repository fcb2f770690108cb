//! Starts git, and collects its result.

use super::command::{Confined, Git};
use super::limits::{Limits, bound};
use super::running::Running;
use crate::git::confine::confine;
use anyhow::{Context, Result, ensure};
use bottle_host::defence::Defence;
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

const MIB: u64 = 1 << 20;
/// How many bytes of git's standard error are read.
const MAX_STDERR: u64 = 16 << 10;
/// How many bytes git may print if its output is collected as a whole.
const MAX_STDOUT: u64 = 64 * MIB;

/// The result of a child.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Git {
    /// Runs git to the end and returns the result, whatever its status.
    ///
    /// # Errors
    /// Returns an error if git cannot be started, takes too long or prints too much.
    pub fn finish(mut self) -> Result<Finished> {
        // A file, not a pipe: a process that git leaves behind, like ssh's master, may keep a pipe open for
        // hours.
        let out = tempfile::tempfile()?;
        self.command.stdout(out.try_clone()?);
        let (running, mut stderr) = self.start()?;
        let (status, _) = running.end()?;
        let mut printed = Vec::new();
        read_start(out, MAX_STDOUT + 1, &mut printed)?;
        ensure!(printed.len() as u64 <= MAX_STDOUT, "git printed more than {} MiB", MAX_STDOUT / MIB);
        Ok(Finished { status, stdout: printed, stderr: text_of(&mut stderr) })
    }

    /// Runs git and returns its output.
    ///
    /// # Errors
    /// Returns git's own message if it fails.
    pub fn output(self) -> Result<Vec<u8>> {
        let ended = self.finish()?;
        ensure!(ended.status.success(), "git: {}", why(ended.status, &ended.stderr));
        Ok(ended.stdout)
    }

    /// Runs git and returns its output as text, without trailing newlines.
    ///
    /// # Errors
    /// Returns an error as for [`Git::output`].
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.output()?).trim_end_matches('\n').to_owned())
    }

    /// Runs git and drops its output.
    ///
    /// # Errors
    /// Returns an error as for [`Git::output`].
    pub fn run(self) -> Result<()> {
        self.output().map(|_| ())
    }

    /// Runs git and reads its output as it arrives. If the reader fails, git is ended.
    ///
    /// # Errors
    /// Returns an error as for [`Git::output`], or the reader's own error.
    pub fn read<T>(mut self, take: impl FnOnce(&mut BufReader<ChildStdout>) -> Result<T>) -> Result<T> {
        self.command.stdout(Stdio::piped());
        let (mut running, mut stderr) = self.start()?;
        let out = running.child.stdout.take().context("git has no standard output")?;
        let taken = take(&mut BufReader::new(out));
        if taken.is_err() {
            running.kill();
        }
        let (status, late) = running.end()?;
        let stderr = text_of(&mut stderr);
        if late || taken.is_ok() {
            ensure!(status.success() && !late, "git: {}", why(status, &stderr));
        }
        taken
    }

    /// Returns the command and its limits, for a caller that waits for git itself.
    ///
    /// # Errors
    /// Returns an error if git cannot be confined.
    pub fn into_parts(mut self) -> Result<(Command, Limits)> {
        self.confine()?;
        Ok((self.command, self.limits))
    }

    /// Applies limits and confinement just before a child starts.
    fn confine(&mut self) -> Result<()> {
        if Defence::GitLimits.stands() {
            bound(&mut self.command, &self.limits);
        }
        if self.grouped {
            self.command.process_group(0);
        }
        die_with_parent(&mut self.command, Signal::KILL);
        match &self.confined {
            Some(Confined { store, read }) => confine(&mut self.command, store, read),
            None => Ok(()),
        }
    }

    fn start(mut self) -> Result<(Running, File)> {
        let stderr = tempfile::tempfile()?;
        self.command.stderr(stderr.try_clone()?);
        if self.interactive {
            self.command.stdin(Stdio::inherit());
        } else if self.input.is_empty() {
            self.command.stdin(Stdio::null());
        } else {
            let mut input = tempfile::tempfile()?;
            input.write_all(&self.input)?;
            input.seek(SeekFrom::Start(0))?;
            self.command.stdin(input);
        }
        self.confine()?;
        let program = self.command.get_program().to_owned();
        let child = self.command.spawn().with_context(|| program.to_string_lossy().into_owned())?;
        Ok((Running::new(child, self.grouped, self.limits.wall), stderr))
    }
}

fn read_start(mut file: File, most: u64, into: &mut Vec<u8>) -> Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.take(most).read_to_end(into)?;
    Ok(())
}

fn text_of(file: &mut File) -> String {
    let mut stderr = Vec::new();
    if let Ok(file) = file.try_clone() {
        let _ = read_start(file, MAX_STDERR, &mut stderr);
    }
    String::from_utf8_lossy(&stderr).trim().to_owned()
}

fn why(status: ExitStatus, stderr: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (stderr, status.signal()) {
        (_, Some(_)) => format!("it exceeded its time or memory limit ({status}) {stderr}"),
        ("", None) => status.to_string(),
        (stderr, None) => stderr.to_owned(),
    }
}
