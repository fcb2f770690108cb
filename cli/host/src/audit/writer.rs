//! The thread that writes the log, and the state that it shares with the handles.

use super::counted::{Counted, Kind};
use super::decisions::LastDecision;
use super::entry::cut;
use super::log::Log;
use super::summary::Summary;
use crate::defence::Defence;
use crate::out;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often held events are checked.
const GLANCE: Duration = Duration::from_secs(1);
/// The longest text in a line, in bytes.
pub const MAX_TEXT: usize = 1024;
/// The event of the line that stands for the refusals that an operator provoked.
pub const VERIFIED: &str = "verified";

/// The state that the writer shares with the handles.
pub struct Shared {
    pub lost: AtomicU64,
    /// Whether the disk refused the last line.
    pub failing: AtomicBool,
    pub counted: Mutex<Counted>,
    /// The refusals that an operator is provoking, if one is.
    pub summary: Mutex<Option<Summary>>,
    /// The last decision, for the log to refer to.
    pub decided: Mutex<LastDecision>,
}

pub enum Message {
    Line { part: &'static str, event: &'static str, details: Map<String, Value> },
    Decided,
    Flush(SyncSender<()>),
}

/// The thread that writes the log.
pub struct Writer {
    pub log: Log,
    pub shared: Arc<Shared>,
}

impl Writer {
    pub fn run(mut self, messages: &Receiver<Message>) {
        let mut looked = Instant::now();
        self.refer();
        loop {
            let message = match messages.recv_timeout(GLANCE) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let missing = self.shared.lost.swap(0, Relaxed);
            let lost = Map::from_iter([("lines".to_owned(), missing.into())]);
            if missing > 0 && !self.put("audit", "lost", &lost) {
                self.shared.lost.fetch_add(missing, Relaxed);
            }
            self.refer();
            match message {
                Some(Message::Line { part, event, details }) => self.put_or_lose(part, event, details),
                Some(Message::Flush(done)) => {
                    let rest = lock(&self.shared.counted).rest();
                    self.put_all(rest);
                    self.summarize(|_| true);
                    let _ = done.send(());
                }
                Some(Message::Decided) | None => {}
            }
            if looked.elapsed() >= GLANCE {
                looked = Instant::now();
                let due = lock(&self.shared.counted).due(looked);
                self.put_all(due);
                self.summarize(|summary| summary.is_over(looked));
            }
        }
    }

    /// Writes the line for the refusals that were only counted, if it is time.
    fn summarize(&mut self, is_time: impl FnOnce(&Summary) -> bool) {
        let summary = lock(&self.shared.summary).take_if(|summary| is_time(summary));
        if let Some(summary) = summary {
            self.put_or_lose("keeper", VERIFIED, summary.into_details(Instant::now()));
        }
    }

    fn put_all(&mut self, lines: Vec<(Kind, Map<String, Value>)>) {
        lines.into_iter().for_each(|((part, event, _), details)| self.put_or_lose(part, event, details));
    }

    fn put_or_lose(&mut self, part: &str, event: &str, mut details: Map<String, Value>) {
        if Defence::CountedRefusals.stands() {
            cut(&mut details, MAX_TEXT);
        }
        if !self.put(part, event, &details) {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    fn put(&mut self, part: &str, event: &str, details: &Map<String, Value>) -> bool {
        let written = self.log.append(part, event, details);
        self.note(&written)
    }

    /// Makes the log refer to the last decision.
    fn refer(&mut self) {
        let end = lock(&self.shared.decided).clone();
        let written = self.log.refer_to(&end);
        if written.is_err() {
            self.note(&written);
        }
    }

    fn note(&self, written: &std::io::Result<()>) -> bool {
        match written {
            Err(error) if !self.shared.failing.swap(true, Relaxed) => {
                out::note(format_args!("cannot write the log: {error}"));
            }
            Err(_) => {}
            Ok(()) => self.shared.failing.store(false, Relaxed),
        }
        written.is_ok()
    }
}

/// Locks a mutex. A holder that panicked leaves nothing half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
