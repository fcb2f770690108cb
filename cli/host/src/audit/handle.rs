//! Where decisions are written down: a handle on the thread that writes.

use super::counted::{Counted, Kind};
use super::decisions::Decisions;
use super::entry::{cut, fields, now_ms};
use super::log::{Log, SEGMENT};
use super::writer::{MAX_TEXT, Message, Shared, Writer, lock};
use crate::defence::Defence;
use crate::out;
use crate::state::Folder;
use anyhow::Result;
use bottle_core::guard::{Refusal, describe};
use bottle_core::specification::Need;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Why nothing is let through where [`Audit::may_allow`] says no.
pub const UNRECORDED: &str = "the log cannot be written, and this bottle requires it";

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;
/// Where decisions are written. Copies write to the same log.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    need: Need,
    decisions: Mutex<Decisions>,
}

impl Audit {
    /// Opens the logs of a bottle and continues their chains. A bottle has one such writer, its
    /// keeper.
    ///
    /// # Errors
    /// Where a file cannot be opened or read.
    pub fn open(folder: &Folder, need: Need) -> Result<Self> {
        let log = Log::open(&folder.audit(), segment())?;
        let decisions = Decisions::open(&folder.decisions())?;
        let (queue, lines) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            lost: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            counted: Mutex::new(Counted::new(Instant::now())),
            decided: Mutex::new(decisions.end()?),
        });
        let writer = Writer { log, shared: Arc::clone(&shared) };
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(Self(Arc::new(Inner { queue, shared, need, decisions: Mutex::new(decisions) })))
    }

    /// Whether a decision to let something through may be made: not where it has to be recorded and
    /// cannot be. What is refused meanwhile is tried to be written, so this heals by itself.
    pub fn may_allow(&self) -> bool {
        self.0.need == Need::BestEffort || !self.is_failing()
    }

    /// Whether the disk did not take the last line.
    pub fn is_failing(&self) -> bool {
        self.0.shared.failing.load(Relaxed)
    }

    /// Writes down what an operator decided, before it is done. It waits for the disk, and for nothing
    /// that a guest could fill.
    ///
    /// # Errors
    /// Where it cannot be written and has to be.
    pub fn decided(&self, part: &'static str, event: &'static str, details: Value) -> Result<()> {
        if !Defence::DecisionsApart.stands() {
            self.write(part, event, details);
            return Ok(());
        }
        match lock(&self.0.decisions).append(part, event, &fields(details)) {
            Ok(end) => {
                *lock(&self.0.shared.decided) = end;
                // A queue that is full wakes the writer by itself.
                let _ = self.0.queue.try_send(Message::Decided);
                Ok(())
            }
            Err(error) => {
                out::note(format_args!("cannot write the log of decisions: {error}"));
                self.0.shared.failing.store(true, Relaxed);
                // The count is a line that the writer tries again and again: so this heals by itself.
                self.0.shared.lost.fetch_add(1, Relaxed);
                anyhow::ensure!(self.0.need == Need::BestEffort, UNRECORDED);
                Ok(())
            }
        }
    }

    /// Writes down what bottle itself did: never what a guest can cause as often as it likes.
    pub fn write(&self, part: &'static str, event: &'static str, details: Value) {
        self.queue(part, event, fields(details));
    }

    /// Writes down what a guest caused, or counts it where it caused much of that kind just now.
    /// `destination` tells apart what is worth telling apart: a host, a repository, a door.
    pub fn caused(
        &self,
        part: &'static str,
        event: &'static str,
        reason: &'static str,
        destination: &str,
        details: Value,
    ) {
        let mut details = fields(details);
        if !reason.is_empty() {
            details.insert("reason".to_owned(), reason.into());
        }
        self.count((part, event, reason), Some(destination), details);
    }

    /// Writes down that the guard refused a frame.
    pub fn refused(&self, refusal: Refusal, frame: &[u8]) {
        let kind = ("guard", "refused", refusal.explanation());
        let looks = {
            let (mut counted, now) = (lock(&self.0.shared.counted), Instant::now());
            let looks = counted.looks(kind, now);
            // A flood costs a count for each frame, and no more.
            if !looks && Defence::CountedRefusals.stands() && counted.again(kind, now) {
                return;
            }
            looks
        };
        let mut details = fields(serde_json::json!({ "reason": refusal }));
        let destination = looks.then(|| describe(frame));
        if let Some(destination) = &destination {
            details.insert("destination".to_owned(), destination.as_str().into());
        }
        self.count(kind, destination.as_deref(), details);
    }

    fn count(&self, kind: Kind, destination: Option<&str>, mut details: Map<String, Value>) {
        let (part, event, _) = kind;
        // Where nothing may be let through without its line, what was let through has one.
        let has_its_own = self.0.need == Need::Required && event != "refused";
        if has_its_own || !Defence::CountedRefusals.stands() {
            self.queue(part, event, details);
            return;
        }
        cut(&mut details, MAX_TEXT);
        let line = lock(&self.0.shared.counted).see(kind, destination, details, Instant::now(), now_ms());
        if let Some(details) = line {
            self.queue(part, event, details);
        }
    }

    fn queue(&self, part: &'static str, event: &'static str, details: Map<String, Value>) {
        if self.0.queue.try_send(Message::Line { part, event, details }).is_err() {
            self.0.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything that happened so far is in the file, what was counted included.
    pub fn flush(&self) {
        let (done, waited) = sync_channel(1);
        if self.0.queue.send(Message::Flush(done)).is_ok() {
            let _ = waited.recv_timeout(Duration::from_secs(2));
        }
    }
}

/// How large a file of the log grows, in bytes. In a debug build `BOTTLE_LOG_SEGMENT` makes it
/// smaller, for a test that waits for what takes a guest days.
fn segment() -> u64 {
    #[cfg(debug_assertions)]
    if let Some(bytes) = std::env::var("BOTTLE_LOG_SEGMENT").ok().and_then(|bytes| bytes.parse().ok()) {
        return bytes;
    }
    SEGMENT
}
