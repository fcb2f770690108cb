//! Refusals that an operator provokes. While `bottle verify` tries everything, refusals are only counted, and
//! one line says how many there were of each kind.
//!
//! Whatever a guest does meanwhile is counted with the others. Nothing that was let through is left out.

use bottle_core::guard::Refusal;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The refusals since an operator began to try things.
#[derive(Debug)]
pub struct Summary {
    since: Instant,
    until: Instant,
    frames: BTreeMap<Refusal, u64>,
    requests: BTreeMap<(&'static str, &'static str), u64>,
}

impl Summary {
    /// Starts to count, for at most `limit`.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self { since: now, until: now + limit, frames: BTreeMap::new(), requests: BTreeMap::new() }
    }

    /// Returns whether the time for counting is over.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Counts one more frame that the guard refused.
    pub fn frame(&mut self, refusal: Refusal) {
        *self.frames.entry(refusal).or_default() += 1;
    }

    /// Counts one more refusal of a sidecar.
    pub fn request(&mut self, part: &'static str, reason: &'static str) {
        *self.requests.entry((part, reason)).or_default() += 1;
    }

    /// Returns the details of the line that stands for all of them.
    pub fn into_details(self, now: Instant) -> Map<String, Value> {
        let mut refused = Map::new();
        if !self.frames.is_empty() {
            refused.insert("guard".to_owned(), json!(self.frames));
        }
        for ((part, reason), count) in self.requests {
            let part = refused.entry(part).or_insert_with(|| json!({}));
            part[reason] = count.into();
        }
        let ms = super::entry::millis(now.duration_since(self.since));
        Map::from_iter([("refused".to_owned(), refused.into()), ("ms".to_owned(), ms.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_counted_under_its_part_and_reason() {
        let now = Instant::now();
        let mut summary = Summary::new(Duration::from_secs(1), now);
        assert!(!summary.is_over(now) && summary.is_over(now + Duration::from_secs(1)));
        summary.frame(Refusal::Ipv6);
        summary.request("pipelock", "no-rule");
        summary.frame(Refusal::Ipv6);
        let line = summary.into_details(now + Duration::from_millis(5));
        let wanted = json!({ "refused": { "guard": { "ipv6": 2 }, "pipelock": { "no-rule": 1 } }, "ms": 5 });
        assert_eq!(Value::from(line), wanted);
    }
}
