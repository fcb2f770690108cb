//! Events of one kind and destination. Some get a line; the others are held and counted.

use super::bucket::Bucket;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// How many lines one destination gets at once.
pub const LINES: u32 = 20;
/// How soon it gets one more.
pub const LINE_EVERY: Duration = Duration::from_secs(10);
/// How many bytes a guest's lines may have at once.
pub const BYTES: u32 = 1 << 20;
/// How soon they may have one more: 44 MB a day.
pub const BYTE_EVERY: Duration = Duration::from_millis(2);
/// The size of a line apart from its details, in bytes: time, part, event and hash.
pub const AROUND: usize = 160;

/// Events of one kind and destination.
#[derive(Debug)]
pub struct Repeated {
    lines: Bucket,
    pub held: Option<Held>,
    pub last: Instant,
}

/// Events that have no line yet.
#[derive(Debug)]
pub struct Held {
    pub count: u64,
    since_ms: u64,
    /// The details of the newest event. Fields that count bytes are summed up.
    details: Map<String, Value>,
}

impl Repeated {
    pub fn new(now: Instant) -> Self {
        Self { lines: Bucket::new(LINES, LINE_EVERY, now), held: None, last: now }
    }

    pub fn hold(&mut self, mut details: Map<String, Value>, now: Instant, now_ms: u64) {
        self.last = now;
        let (count, since_ms) = self.held.take().map_or((0, now_ms), |held| {
            for (name, sum) in held.details.iter().filter(|(name, _)| name.starts_with("bytes_")) {
                let more = details.get(name).and_then(Value::as_u64).unwrap_or(0);
                details.insert(name.clone(), sum.as_u64().unwrap_or(0).saturating_add(more).into());
            }
            (held.count, held.since_ms)
        });
        self.held = Some(Held { count: count + 1, since_ms, details });
    }

    /// Returns the line for the held events, if it may be written now.
    pub fn due(&mut self, bytes: &mut Bucket, now: Instant) -> Option<Map<String, Value>> {
        let size = self.held.as_ref()?.size();
        if !self.lines.has(1, now) || !bytes.has(size, now) {
            return None;
        }
        self.lines.take(1);
        bytes.take(size);
        self.held.take().map(Held::into_details)
    }
}

impl Held {
    pub fn size(&self) -> u32 {
        let details = serde_json::to_string(&self.details).map_or(0, |text| text.len());
        // A line larger than the bucket would never pass.
        u32::try_from(details + AROUND).unwrap_or(BYTES).min(BYTES)
    }

    pub fn into_details(self) -> Map<String, Value> {
        let mut details = self.details;
        if self.count > 1 {
            details.insert("repeated".to_owned(), self.count.into());
            details.insert("since_ms".to_owned(), self.since_ms.into());
        }
        details
    }
}
