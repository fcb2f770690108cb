//! The handle through which the keeper's parts write to the log.

use super::counted::{Counted, Kind};
use super::decisions::Decisions;
use super::entry::{cut, fields, now_ms};
use super::log::{Log, SEGMENT};
use super::summary::Summary;
use super::writer::{MAX_TEXT, Message, Shared, VERIFIED, Writer, lock};
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

/// The reason for a refusal when [`Audit::may_allow`] says no.
pub const UNRECORDED: &str = "the log cannot be written, and this bottle requires it";

/// How many lines may wait for the disk.
const QUEUE: usize = 4096;
/// A bottle's log. Clones write to the same log.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    need: Need,
    decisions: Mutex<Decisions>,
}

impl Audit {
    /// Opens a bottle's logs and continues their chains. A bottle has only one such writer, its keeper.
    ///
    /// # Errors
    /// Returns an error if a file cannot be opened or read.
    pub fn open(folder: &Folder, need: Need) -> Result<Self> {
        let log = Log::open(&folder.audit(), segment())?;
        let decisions = Decisions::open(&folder.decisions())?;
        let (queue, lines) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            lost: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            counted: Mutex::new(Counted::new(Instant::now())),
            summary: Mutex::new(None),
            decided: Mutex::new(decisions.last()?),
        });
        let writer = Writer { log, shared: Arc::clone(&shared) };
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(Self(Arc::new(Inner { queue, shared, need, decisions: Mutex::new(decisions) })))
    }

    /// Returns whether anything may be let through, which it may not if it must be recorded and cannot be.
    /// Refusals are still written meanwhile, so the log recovers by itself.
    pub fn may_allow(&self) -> bool {
        self.0.need == Need::BestEffort || !self.is_failing()
    }

    /// Returns whether the disk refused the last line.
    pub fn is_failing(&self) -> bool {
        self.0.shared.failing.load(Relaxed)
    }

    /// Records an operator's decision before it is carried out. This waits for the disk, but for nothing that
    /// a guest could fill.
    ///
    /// # Errors
    /// Returns an error if the decision must be recorded and cannot be.
    pub fn decided(&self, part: &'static str, event: &'static str, details: Value) -> Result<()> {
        if !Defence::DecisionsApart.stands() {
            self.write(part, event, details);
            return Ok(());
        }
        match lock(&self.0.decisions).append(part, event, &fields(details)) {
            Ok(end) => {
                *lock(&self.0.shared.decided) = end;
                // If the queue is full, the writer is awake anyway.
                let _ = self.0.queue.try_send(Message::Decided);
                Ok(())
            }
            Err(error) => {
                out::note(format_args!("cannot write the log of decisions: {error}"));
                self.0.shared.failing.store(true, Relaxed);
                // The writer keeps trying to turn the count into a line, so the log recovers by itself.
                self.0.shared.lost.fetch_add(1, Relaxed);
                anyhow::ensure!(self.0.need == Need::BestEffort, UNRECORDED);
                Ok(())
            }
        }
    }

    /// Logs what bottle itself did. Do not use it for anything that a guest can cause at will.
    pub fn write(&self, part: &'static str, event: &'static str, details: Value) {
        self.queue(part, event, fields(details));
    }

    /// Logs what a guest caused, or counts it if the guest caused much of this kind recently. `destination`
    /// tells events apart: a host, a repository, a door.
    pub fn caused(
        &self,
        part: &'static str,
        event: &'static str,
        reason: &'static str,
        destination: &str,
        details: Value,
    ) {
        if event == "refused" && self.in_summary(|summary| summary.request(part, reason)) {
            return;
        }
        let mut details = fields(details);
        if !reason.is_empty() {
            details.insert("reason".to_owned(), reason.into());
        }
        self.count((part, event, reason), Some(destination), details);
    }

    /// Counts refusals instead of describing them, until [`Audit::summarized`] or for at most `limit`.
    pub fn summarize(&self, limit: Duration) {
        self.summarized();
        *lock(&self.0.shared.summary) = Some(Summary::new(limit, Instant::now()));
    }

    /// Writes one line for the refusals that were only counted.
    pub fn summarized(&self) {
        if let Some(summary) = lock(&self.0.shared.summary).take() {
            self.queue("keeper", VERIFIED, summary.into_details(Instant::now()));
        }
    }

    /// Counts a refusal and returns true, if refusals are currently only counted.
    fn in_summary(&self, count: impl FnOnce(&mut Summary)) -> bool {
        match &mut *lock(&self.0.shared.summary) {
            Some(summary) if !summary.is_over(Instant::now()) => {
                count(summary);
                true
            }
            _ => false,
        }
    }

    /// Logs that the guard refused a frame.
    pub fn refused(&self, refusal: Refusal, frame: &[u8]) {
        if self.in_summary(|summary| summary.frame(refusal)) {
            return;
        }
        let kind = ("guard", "refused", refusal.explanation());
        let looks = {
            let (mut counted, now) = (lock(&self.0.shared.counted), Instant::now());
            let looks = counted.looks(kind, now);
            // In a flood, each frame costs one count and nothing else.
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
        // If nothing may pass without its line, everything that passed gets a line of its own.
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

    /// Waits until all events so far are in the file, including the counted ones.
    pub fn flush(&self) {
        let (done, waited) = sync_channel(1);
        if self.0.queue.send(Message::Flush(done)).is_ok() {
            let _ = waited.recv_timeout(Duration::from_secs(2));
        }
    }
}

/// Returns the size at which a file of the log is set aside, in bytes. In a debug build `BOTTLE_LOG_SEGMENT`
/// makes it smaller, so that a test does not need what takes a guest days.
fn segment() -> u64 {
    #[cfg(debug_assertions)]
    if let Some(bytes) = std::env::var("BOTTLE_LOG_SEGMENT").ok().and_then(|bytes| bytes.parse().ok()) {
        return bytes;
    }
    SEGMENT
}
