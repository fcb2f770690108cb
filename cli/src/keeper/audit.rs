//! The audit log: one JSON line for each decision, each chained to the one before it by a hash.
//!
//! Writing happens on a thread of its own behind a bounded queue, so a decision never waits for a
//! disk. What does not fit is counted, and the count is the next line.

use anyhow::{Context, Result};
use bottle_core::guard::{Refusal, about};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;
/// How many refusals of one reason are written in each [`WINDOW`]; the others are counted.
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// One line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// Which part decided: `keeper`, `guard`, `pipelock`, ...
    pub part: String,
    /// What it decided: `started`, `refused`, `allowed`, ...
    pub event: String,
    /// What it was about; its fields depend on the event.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// SHA-256 of the line before it, in hexadecimal; of nothing for the first.
    pub previous: String,
}

/// Where decisions are written. Copies write to the same log.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    queue: SyncSender<Message>,
    lost: AtomicU64,
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
    pub fn open(path: &Path) -> Result<Self> {
        let previous = last_hash(path)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        let (queue, lines) = sync_channel(QUEUE);
        let burst = Burst { since: None, written: 0, held_back: 0 };
        let inner = Arc::new(Inner {
            queue,
            lost: AtomicU64::new(0),
            bursts: Mutex::new([burst; Refusal::ALL.len()]),
        });
        let weak = Arc::downgrade(&inner);
        let path = path.to_owned();
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let lost = || weak.upgrade().map_or(0, |inner| inner.lost.swap(0, Relaxed));
            write_lines(file, &path, previous, &lines, lost);
        })?;
        Ok(Self(inner))
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

fn write_lines(
    mut file: File,
    path: &Path,
    mut previous: String,
    messages: &Receiver<Message>,
    lost: impl Fn() -> u64,
) {
    let mut failing = false;
    let mut put = |part: &str, event: &str, details: Map<String, Value>| {
        let entry = Entry {
            time_ms: now_ms(),
            part: part.to_owned(),
            event: event.to_owned(),
            details,
            previous: previous.clone(),
        };
        let Ok(mut line) = serde_json::to_string(&entry) else { return };
        let hash = hash(&line);
        line.push('\n');
        match file.write_all(line.as_bytes()) {
            Ok(()) => {
                previous = hash;
                failing = false;
            }
            Err(error) if !failing => {
                failing = true;
                eprintln!("bottle: cannot write {}: {error}", path.display());
            }
            Err(_) => {}
        }
    };
    for message in messages {
        let lost = lost();
        if lost > 0 {
            put("audit", "lost", Map::from_iter([("lines".to_owned(), lost.into())]));
        }
        match message {
            Message::Line { part, event, details } => put(part, event, details),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration as the log writes it: whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hash(line: &str) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn last_hash(path: &Path) -> Result<String> {
    let mut last = String::new();
    for line in lines(path)? {
        last = line?;
    }
    Ok(if last.is_empty() { String::new() } else { hash(&last) })
}

fn lines(path: &Path) -> Result<Box<dyn Iterator<Item = std::io::Result<String>>>> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::new(file).lines())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Reads a log, line by line: the entry, or the line as it is where it is none.
///
/// # Errors
/// Where the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Result<Entry, String>>> {
    lines(path)?
        .map(|line| {
            let line = line?;
            Ok(serde_json::from_str(&line).map_err(|_| line))
        })
        .collect()
}

/// What a check of a log's chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every line follows from the one before it; so many there are.
    Whole(usize),
    /// This line, counted from 1, does not follow from the one before it.
    Broken(usize),
}

/// Checks that no line of a log was changed, taken out or put in. Lines cut off at the end cannot
/// be seen from the file alone.
///
/// # Errors
/// Where the file cannot be read.
pub fn check(path: &Path) -> Result<Chain> {
    let (mut previous, mut count) = (String::new(), 0);
    for line in lines(path)? {
        let line = line?;
        count += 1;
        match serde_json::from_str::<Entry>(&line) {
            Ok(entry) if entry.previous == previous => previous = hash(&line),
            _ => return Ok(Chain::Broken(count)),
        }
    }
    Ok(Chain::Whole(count))
}
