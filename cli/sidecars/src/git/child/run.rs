//! Starting a git, and what comes of it.

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
/// What is read of git's complaints.
const MAX_COMPLAINT: u64 = 16 << 10;
/// The most that a command whose whole answer is taken may print.
const MAX_ANSWER: u64 = 64 * MIB;

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of.
    pub complaint: String,
}

impl Git {
    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// Where it cannot be started, takes too long or prints too much.
    pub fn end(mut self) -> Result<Ended> {
        // A file and not a pipe: what git leaves behind (ssh's master) may hold a pipe open for hours.
        let out = tempfile::tempfile()?;
        self.command.stdout(out.try_clone()?);
        let (running, mut complaint) = self.start()?;
        let (status, _) = running.end()?;
        let mut printed = Vec::new();
        read_start(out, MAX_ANSWER + 1, &mut printed)?;
        ensure!(printed.len() as u64 <= MAX_ANSWER, "git printed more than is read");
        Ok(Ended { status, out: printed, complaint: complaint_of(&mut complaint) })
    }

    /// Runs it, and returns what it printed.
    ///
    /// # Errors
    /// In git's own words where it did not end well.
    pub fn said(self) -> Result<Vec<u8>> {
        let ended = self.end()?;
        ensure!(ended.status.success(), "git: {}", why(ended.status, &ended.complaint));
        Ok(ended.out)
    }

    /// Runs it, and returns what it printed as text without the last newline.
    ///
    /// # Errors
    /// As [`Git::said`].
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.said()?).trim_end_matches('\n').to_owned())
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`Git::said`].
    pub fn run(self) -> Result<()> {
        self.said().map(|_| ())
    }

    /// Runs it, and reads what it prints as it comes. Whoever has read enough ends git with an error.
    ///
    /// # Errors
    /// As [`Git::said`], and what the reader says.
    pub fn read<T>(mut self, take: impl FnOnce(&mut BufReader<ChildStdout>) -> Result<T>) -> Result<T> {
        self.command.stdout(Stdio::piped());
        let (mut running, mut complaint) = self.start()?;
        let out = running.child.stdout.take().context("standard output")?;
        let taken = take(&mut BufReader::new(out));
        if taken.is_err() {
            running.kill();
        }
        let (status, late) = running.end()?;
        let complaint = complaint_of(&mut complaint);
        if late || taken.is_ok() {
            ensure!(status.success() && !late, "git: {}", why(status, &complaint));
        }
        taken
    }

    /// The command for who waits for it by himself, and how long it may take.
    ///
    /// # Errors
    /// Where it cannot be confined.
    pub fn into_parts(mut self) -> Result<(Command, Limits)> {
        self.confine()?;
        Ok((self.command, self.limits))
    }

    /// What is done to every child just before it starts.
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
        let complaint = tempfile::tempfile()?;
        self.command.stderr(complaint.try_clone()?);
        if self.asking {
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
        Ok((Running::new(child, self.grouped, self.limits.wall), complaint))
    }
}

fn read_start(mut file: File, most: u64, into: &mut Vec<u8>) -> Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.take(most).read_to_end(into)?;
    Ok(())
}

fn complaint_of(file: &mut File) -> String {
    let mut complaint = Vec::new();
    if let Ok(file) = file.try_clone() {
        let _ = read_start(file, MAX_COMPLAINT, &mut complaint);
    }
    String::from_utf8_lossy(&complaint).trim().to_owned()
}

fn why(status: ExitStatus, complaint: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (complaint, status.signal()) {
        (_, Some(_)) => format!("it took more time or memory than it may have ({status}) {complaint}"),
        ("", None) => status.to_string(),
        (complaint, None) => complaint.to_owned(),
    }
}
