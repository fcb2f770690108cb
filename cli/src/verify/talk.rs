//! A guest that is being asked: questions go in on its standard input, answers come out.

use super::questions::Questions;
use crate::process::die_with_parent;
use anyhow::{Context, Result, bail};
use bottle_guest::probe::Answer;
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a guest may think about one answer: an emulated one takes a while over a sweep.
const PATIENCE: Duration = Duration::from_secs(120);

/// The conversation with a guest's `bottle-guest probe`.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
    complaints: JoinHandle<String>,
    answers: Vec<Answer>,
    asked: usize,
}

impl Talk {
    /// Gives a guest its questions. The command runs the probe in it.
    ///
    /// # Errors
    /// Where the command cannot be run.
    pub fn begin(mut guest: Command, questions: Questions) -> Result<Self> {
        let questions = questions.into_list();
        die_with_parent(&mut guest, Signal::KILL);
        let mut child = guest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let text = serde_json::to_string(&questions)?;
        // A guest that ends before it has read its questions says why on standard error.
        let _ = child.stdin.take().context("standard input")?.write_all(text.as_bytes());
        let said = BufReader::new(child.stdout.take().context("standard output")?);
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || said.lines().try_for_each(|line| heard.send(line)));
        let mut stderr = child.stderr.take().context("standard error")?;
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        Ok(Self { child, lines, complaints, answers: Vec::new(), asked: questions.len() })
    }

    /// How many questions there are.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Waits for the next answer: whether there was one.
    ///
    /// # Errors
    /// Where what the guest says is no answer, or it says nothing for too long.
    pub fn hear_next(&mut self) -> Result<bool> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => self.hear(&line?).map(|()| true),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill()?;
                bail!("the guest said nothing for {} s", PATIENCE.as_secs())
            }
        }
    }

    /// The answers that are there already.
    ///
    /// # Errors
    /// As for [`Talk::hear_next`].
    pub fn so_far(&mut self) -> Result<&[Answer]> {
        while let Ok(line) = self.lines.try_recv() {
            self.hear(&line?)?;
        }
        Ok(&self.answers)
    }

    fn hear(&mut self, line: &str) -> Result<()> {
        self.answers.push(serde_json::from_str(line).with_context(|| format!("an answer: {line}"))?);
        Ok(())
    }

    /// Every answer, once the guest has given the last.
    ///
    /// # Errors
    /// Where it ended before that, with what it said last.
    pub fn end(mut self) -> Result<Vec<Answer>> {
        while self.hear_next()? {}
        let status = self.child.wait()?;
        if !status.success() {
            let last = self.answers.last().map_or("none", |answer| &answer.id);
            let complaints = self.complaints.join().unwrap_or_default();
            bail!(
                "the guest ended after {} of {} answers (last: {last}): {complaints}",
                self.answers.len(),
                self.asked
            );
        }
        Ok(self.answers)
    }
}
