//! What the helper writes in the guest, batch by batch. Each is the answer to a call of its own, which smolvm carries
//! several times as fast as what it streams.

use super::stream::{Guest, Pace, Said};
use bottle_guest::report::{Code, END};
use bottle_host::failure::Outcome;
use bottle_host::random;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, Read};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

/// How many batches without a byte in them may follow each other.
const EMPTY: u32 = 10;
/// How long it may take to end a job that is not wanted any more.
const CANCEL: Duration = Duration::from_secs(5);
/// How many bytes may follow what was read.
const REST: u64 = 64 << 10;

/// A call of the helper's with these words.
pub type Call = Box<dyn Fn(&[&str]) -> Command>;

/// A job of the helper's whose output is read.
pub struct Batches {
    call: Call,
    word: String,
    now: Option<(Guest, ChildStdout)>,
    pace: Pace,
    /// How many bytes of this batch came, and how many batches before it had none.
    came: u64,
    empty: u32,
    /// How the job ended.
    ended: Option<Result<(), Said>>,
}

impl Batches {
    /// Starts a job.
    pub fn start(call: Call, job: &[&str]) -> Outcome<Self> {
        let word = random::hex::<8>()?;
        let mut batches = Self { call, word, now: None, pace: Pace::new(), came: 0, empty: 0, ended: None };
        batches.ask(&[&["--"], job].concat())?;
        Ok(batches)
    }

    /// Asks for the next batch.
    fn ask(&mut self, rest: &[&str]) -> Outcome {
        let mut command = self.of_job(rest);
        let mut guest = Guest::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        self.now = guest.stdout().map(|pipe| (guest, pipe));
        Ok(())
    }

    fn of_job(&self, rest: &[&str]) -> Command {
        (self.call)(&[&["batch", self.word.as_str()], rest].concat())
    }

    /// Waits for the job to end, and returns why it failed, if it did.
    pub fn finish(mut self) -> Outcome<Result<(), Said>> {
        if let Err(error) = io::copy(&mut self.by_ref().take(REST), &mut io::sink()) {
            return Ok(Err(Said { code: Code::Other, words: error.to_string() }));
        }
        let too_much = || Err(Said { code: Code::Other, words: "the helper did not end".to_owned() });
        Ok(self.ended.take().unwrap_or_else(too_much))
    }

    /// Ends it, and returns its last message, if there was one.
    pub fn give_up(mut self) -> Option<Said> {
        match self.ended.take() {
            Some(ended) => {
                let said = ended.err();
                self.ended = Some(Ok(()));
                said
            }
            None => self.now.take().and_then(|(guest, pipe)| {
                drop(pipe);
                guest.give_up()
            }),
        }
    }
}

impl Read for Batches {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some((_, pipe)) = &mut self.now else { return Ok(0) };
            self.pace.wait(pipe, PollFlags::IN)?;
            let len = pipe.read(buffer)?;
            if len > 0 {
                self.pace.bytes += len as u64;
                self.came += len as u64;
                return Ok(len);
            }
            let Some((guest, pipe)) = self.now.take() else { return Ok(0) };
            drop(pipe);
            let ended =
                guest.finish_batch().map_err(|failure| io::Error::other(failure.what().to_owned()))?;
            self.empty = if self.came == 0 { self.empty + 1 } else { 0 };
            self.came = 0;
            match ended {
                Ok(true) if self.empty > EMPTY => {
                    return Err(io::Error::new(ErrorKind::TimedOut, "the guest has stopped responding"));
                }
                Ok(true) => self.ask(&[]).map_err(|failure| io::Error::other(failure.what().to_owned()))?,
                ended => self.ended = Some(ended.map(|_| ())),
            }
        }
    }
}

impl Drop for Batches {
    /// A job that was not read to its end waits for whoever reads on.
    fn drop(&mut self) {
        drop(self.now.take());
        if self.ended.is_none() {
            let mut command = self.of_job(&[END]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            if let Ok(guest) = Guest::start(&mut command) {
                guest.wait_at_most(CANCEL);
            }
        }
    }
}
