//! A conversation with a guest: questions go to its standard input, and answers come from its standard
//! output.
//!
//! The output is the guest's, so it is read with limits: one answer per question, in the order of the
//! questions, and nothing else.

use super::fits;
use super::questions::Questions;
use anyhow::{Context, Result, anyhow, bail, ensure};
use bottle_core::visible;
use bottle_guest::probe::{Answer, Question};
use bottle_host::defence::Defence;
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a guest may take for one answer. An emulated guest needs a while for a sweep.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long all of its answers together may take, however steadily they come.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long its output may stay open after the last answer.
const END: Duration = Duration::from_secs(5);
/// How long its program may take to end after that.
const GRACE: Duration = Duration::from_secs(20);
/// The longest answer, in bytes.
const LINE: usize = 4 << 20;
/// The most bytes that all answers together may have.
const ALL: usize = 32 << 20;
/// How many bytes of its standard error are repeated.
const COMPLAINTS: u64 = 4096;
/// How many answers may wait to be read.
const QUEUE: usize = 8;

/// The conversation with a guest's `bottle-guest probe`.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    lines: Receiver<io::Result<Vec<u8>>>,
    complaints: Receiver<String>,
    answers: Vec<Answer>,
    open: VecDeque<Question>,
    asked: usize,
    end: Instant,
}

impl Talk {
    /// Sends a guest its questions. The command runs the probe in the guest.
    ///
    /// # Errors
    /// Returns an error if the command cannot be run.
    pub fn begin(mut guest: Command, questions: Questions) -> Result<Self> {
        let questions = questions.into_list();
        die_with_parent(&mut guest, Signal::KILL);
        let mut child = guest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let text = serde_json::to_string(&questions)?;
        let mut stdin = child.stdin.take().context("standard input")?;
        // A guest that ends before it has read its questions says why on standard error. One that does not
        // read them blocks only this thread.
        thread::spawn(move || stdin.write_all(text.as_bytes()));
        let said = child.stdout.take().context("standard output")?;
        let (heard, lines) = mpsc::sync_channel(QUEUE);
        thread::spawn(move || read_lines(said, &heard));
        let complaints = hear_complaints(child.stderr.take().context("standard error")?);
        let asked = questions.len();
        Ok(Self {
            child,
            lines,
            complaints,
            answers: Vec::new(),
            open: questions.into(),
            asked,
            end: Instant::now() + LIMIT,
        })
    }

    /// Returns how many questions there are.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Waits for the next answer, and returns whether there was one.
    ///
    /// # Errors
    /// Returns an error if the guest sends something that is not an answer, or sends nothing for too long.
    pub fn hear_next(&mut self) -> Result<bool> {
        let left = self.end.saturating_duration_since(Instant::now());
        let is_done = self.open.is_empty() && Defence::BoundedReads.stands();
        let patience = if is_done { GRACE } else { PATIENCE };
        match self.lines.recv_timeout(patience.min(left)) {
            Ok(line) => self.hear(&line?).map(|()| true),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) if is_done => Ok(false),
            Err(RecvTimeoutError::Timeout) if left < PATIENCE => {
                bail!("the guest took longer than {} s for its answers", LIMIT.as_secs())
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("the guest said nothing for {} s", PATIENCE.as_secs())
            }
        }
    }

    /// Returns the answers so far.
    ///
    /// # Errors
    /// Returns an error as for [`Talk::hear_next`].
    pub fn so_far(&mut self) -> Result<&[Answer]> {
        while let Ok(line) = self.lines.try_recv() {
            self.hear(&line?)?;
        }
        Ok(&self.answers)
    }

    fn hear(&mut self, line: &[u8]) -> Result<()> {
        let answer: Answer = serde_json::from_slice(line).map_err(|_| {
            let start = &line[..line.len().min(100)];
            anyhow!("the guest said something that is not an answer: {}", visible::Bytes(start))
        })?;
        if Defence::BoundedReads.stands() {
            let question = self.open.pop_front().context("the guest answered more than it was asked")?;
            ensure!(
                answer.id == question.id,
                "the guest answered a question other than {}",
                visible::Line(&question.id)
            );
            fits::check(&answer, &question.attempt)
                .with_context(|| format!("the guest's answer to {}", visible::Line(&question.id)))?;
        }
        self.answers.push(answer);
        Ok(())
    }

    /// Returns all answers, once the guest has given the last one.
    ///
    /// # Errors
    /// Returns an error if the guest ended before that. It contains the last thing that the guest said.
    pub fn end(mut self) -> Result<Vec<Answer>> {
        while self.hear_next()? {}
        if !Defence::BoundedReads.stands() {
            self.child.wait()?;
        }
        let Some(status) = self.ended_within(END)? else {
            bail!(
                "the guest's program gave every answer, but did not end within {} s",
                (GRACE + END).as_secs()
            )
        };
        if !status.success() {
            let last = self.answers.last().map_or("none", |answer| &answer.id);
            let complaints = self.complaints.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
            bail!(
                "the guest ended after {} of {} answers (last: {}): {}",
                self.answers.len(),
                self.asked,
                visible::Line(last),
                visible::Line(&complaints)
            );
        }
        Ok(std::mem::take(&mut self.answers))
    }

    fn ended_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() > end => return Ok(None),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines up to the limits, and no faster than they are consumed.
fn read_lines(said: impl Read, heard: &SyncSender<io::Result<Vec<u8>>>) {
    let (mut said, mut left) = (BufReader::new(said), ALL);
    loop {
        let mut line = Vec::new();
        let most = if Defence::BoundedReads.stands() { LINE.min(left) } else { usize::MAX };
        let read = (&mut said).take(most as u64).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(read) if read == most && line.last() != Some(&b'\n') => {
                Err(io::Error::other(format!("the guest said more than {most} bytes instead of an answer")))
            }
            Ok(read) => {
                left = left.saturating_sub(read).max(1);
                Ok(line)
            }
            Err(error) => Err(error),
        };
        let is_over = line.is_err();
        if heard.send(line).is_err() || is_over {
            return;
        }
    }
}

/// Returns the beginning of what the guest says on standard error. The rest is read, so that a talkative
/// program does not stall, and discarded.
fn hear_complaints(mut stderr: ChildStderr) -> Receiver<String> {
    let (heard, complaints) = mpsc::channel();
    thread::spawn(move || {
        let mut start = Vec::new();
        let most = if Defence::BoundedReads.stands() { COMPLAINTS } else { u64::MAX };
        let _ = (&mut stderr).take(most).read_to_end(&mut start);
        let _ = heard.send(String::from_utf8_lossy(&start).trim().to_owned());
        let _ = io::copy(&mut stderr, &mut io::sink());
    });
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_guest::probe::Attempt;

    /// Returns the answers of a guest that is this shell script and is asked two questions.
    fn asked(script: &str) -> Result<Vec<Answer>> {
        let mut guest = Command::new("sh");
        guest.args(["-c", script]);
        let mut questions = Questions::default();
        for id in ["first", "second"] {
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            questions.ask(id, Attempt::Tcp { address, first: 1, last: 10 });
        }
        Talk::begin(guest, questions)?.end()
    }

    fn said(id: &str, more: &str) -> String {
        format!(
            r#"echo '{{"id":"{id}","said":[],"accepted":[],"refused":10,"silent":0,"failed":0,"error":"","ms":1{more}}}';"#
        )
    }

    #[test]
    fn answers_are_heard() {
        let answers = asked(&(said("first", "") + &said("second", ""))).unwrap();
        assert_eq!(answers.len(), 2);
    }

    #[test]
    fn what_is_no_answer_to_its_question_ends_the_conversation() {
        let (first, second) = (said("first", ""), said("second", ""));
        for (script, why) in [
            (format!("{first}{first}"), "answered a question other than second"),
            (format!("{second}{first}"), "answered a question other than first"),
            (format!("{first}{second}{second}"), "more than it was asked"),
            (format!("{first}{}", said("\\u001b[2J", "")), "answered a question other than"),
            ("echo hello".to_owned(), "not an answer: hello"),
            ("printf '\\033[2J\\n'".to_owned(), "not an answer: \\u{1b}[2J"),
            ("head -c 5000000 /dev/zero".to_owned(), "more than 4194304 bytes"),
            ("yes | tr -d '\\n'".to_owned(), "more than 4194304 bytes"),
            ("echo oops >&2; exit 3".to_owned(), "after 0 of 2 answers (last: none): oops"),
            ("printf '\\033]52;c;eA==\\a' >&2; exit 3".to_owned(), "none): \\u{1b}]52;c;eA==\\u{7}"),
            ("head -c 9000000 /dev/zero >&2; exit 3".to_owned(), "after 0 of 2 answers"),
        ] {
            let error = format!("{:#}", asked(&script).unwrap_err());
            assert!(error.contains(why), "{script}: {}", error.chars().take(300).collect::<String>());
            assert!(error.len() < 40_000, "{}", error.len());
        }
    }
}
