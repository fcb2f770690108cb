//! The audit log: one JSON line for each decision, each chained to the one before it by a hash.
//!
//! Writing happens on a thread of its own behind a bounded queue, so a decision never waits for a
//! disk. What does not fit is counted, and the count is the next line.

mod entry;
mod log;
mod read;

pub use entry::{Entry, millis};
pub use read::{Chain, Line, Tail, check};

use crate::out;
use anyhow::Result;
use bottle_core::guard::{Refusal, about};
use log::{Log, SEGMENT};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;
/// How many refusals of one reason are written in each [`WINDOW`]; the others are counted.
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// What a line that cannot be written means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// It is counted, and the bottle goes on.
    #[default]
    BestEffort,
    /// Nothing more is let through until one can be written again.
    Required,
}

/// Why nothing is let through where [`Audit::may_allow`] says no.
pub const UNRECORDED: &str = "the log cannot be written, and this bottle requires it";

/// Where decisions are written. Copies write to the same log.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    /// Whether the disk did not take the last line.
    failing: Arc<AtomicBool>,
    need: Need,
    bursts: Mutex<[Burst; Refusal::ALL.len()]>,
}

enum Message {
    Line { part: &'static str, event: &'static str, details: Map<String, Value> },
    Flush(SyncSender<()>),
}

#[derive(Clone, Copy)]
struct Burst {
    since: Option<Instant>,
    written: u32,
    held_back: u64,
}

impl Audit {
    /// Opens the log and continues its chain.
    ///
    /// # Errors
    /// Where the file cannot be opened or read.
    pub fn open(path: &Path, need: Need) -> Result<Self> {
        let log = Log::open(path, SEGMENT)?;
        let (queue, lines) = sync_channel(QUEUE);
        let burst = Burst { since: None, written: 0, held_back: 0 };
        let (lost, failing) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let inner = Arc::new(Inner {
            queue,
            lost: Arc::clone(&lost),
            failing: Arc::clone(&failing),
            need,
            bursts: Mutex::new([burst; Refusal::ALL.len()]),
        });
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_lines(log, &lines, &lost, &failing))?;
        Ok(Self(inner))
    }

    /// Whether a decision to let something through may be made: not where it has to be recorded and
    /// cannot be. What is refused meanwhile is tried to be written, so this heals by itself.
    pub fn may_allow(&self) -> bool {
        self.0.need == Need::BestEffort || !self.is_failing()
    }

    /// Whether the disk did not take the last line.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Relaxed)
    }

    /// Writes a decision down.
    pub fn write(&self, part: &'static str, event: &'static str, details: Value) {
        let details = match details {
            Value::Object(details) => details,
            _ => Map::new(),
        };
        if self.0.queue.try_send(Message::Line { part, event, details }).is_err() {
            self.0.lost.fetch_add(1, Relaxed);
        }
    }

    /// Writes a refusal of the guard down, unless too many of its kind were written just now.
    pub fn refused(&self, refusal: Refusal, frame: &[u8]) {
        let now = Instant::now();
        let held_back = {
            let mut bursts = self.0.bursts.lock().unwrap_or_else(PoisonError::into_inner);
            let burst = &mut bursts[refusal as usize];
            if burst.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
                burst.since = Some(now);
                burst.written = 0;
            }
            if burst.written >= BURST {
                burst.held_back += 1;
                return;
            }
            burst.written += 1;
            std::mem::take(&mut burst.held_back)
        };
        let mut details = json!({ "reason": refusal, "destination": about(frame) });
        if held_back > 0 {
            details["held_back"] = held_back.into();
        }
        self.write("guard", "refused", details);
    }

    /// Waits until everything written so far is in the file.
    pub fn flush(&self) {
        let (done, waited) = sync_channel(1);
        if self.0.queue.send(Message::Flush(done)).is_ok() {
            let _ = waited.recv_timeout(Duration::from_secs(2));
        }
    }
}

fn write_lines(mut log: Log, messages: &Receiver<Message>, lost: &AtomicU64, failing: &AtomicBool) {
    let mut put = |part: &str, event: &str, details: Map<String, Value>| {
        let written = log.append(part, event, details);
        match &written {
            Err(error) if !failing.swap(true, Relaxed) => {
                out::note(format_args!("cannot write the log: {error}"));
            }
            Err(_) => {}
            Ok(()) => failing.store(false, Relaxed),
        }
        written.is_ok()
    };
    for message in messages {
        let missing = lost.swap(0, Relaxed);
        if missing > 0 && !put("audit", "lost", Map::from_iter([("lines".to_owned(), missing.into())])) {
            lost.fetch_add(missing, Relaxed);
        }
        match message {
            Message::Line { part, event, details } => {
                if !put(part, event, details) {
                    lost.fetch_add(1, Relaxed);
                }
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}
