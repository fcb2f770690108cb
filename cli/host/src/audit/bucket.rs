//! A token bucket. It does not read the clock: callers pass the time.

use std::time::{Duration, Instant};

/// A bucket that allows `most` at once, and one more after each interval.
#[derive(Debug)]
pub struct Bucket {
    left: u32,
    most: u32,
    every: Duration,
    filled: Instant,
}

impl Bucket {
    /// Creates a full bucket.
    pub fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { left: most, most, every, filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let came = now.saturating_duration_since(self.filled).as_nanos() / self.every.as_nanos();
        let Ok(came) = u32::try_from(came) else {
            (self.left, self.filled) = (self.most, now);
            return;
        };
        self.left = self.most.min(self.left.saturating_add(came));
        self.filled += self.every * came;
    }

    /// Returns whether at least `wanted` is left.
    pub fn has(&mut self, wanted: u32, now: Instant) -> bool {
        self.fill(now);
        self.left >= wanted
    }

    /// Takes `wanted`, or whatever is left.
    pub fn take(&mut self, wanted: u32) {
        self.left = self.left.saturating_sub(wanted);
    }
}
