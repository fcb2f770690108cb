//! The limit on how often an agent may call.

use std::time::{Duration, Instant};

/// How many calls an agent may make: a burst of [`Calls::MOST`], then one per second.
#[derive(Debug)]
pub struct Calls {
    left: u32,
    filled: Instant,
}

impl Calls {
    const MOST: u32 = 100;
    const EVERY: Duration = Duration::from_secs(1);

    pub fn new(now: Instant) -> Self {
        Self { left: Self::MOST, filled: now }
    }

    pub fn take(&mut self, now: Instant) -> bool {
        while self.left < Self::MOST && now.saturating_duration_since(self.filled) >= Self::EVERY {
            self.left += 1;
            self.filled += Self::EVERY;
        }
        if self.left == Self::MOST {
            self.filled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
