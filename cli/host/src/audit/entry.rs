//! One line of the log. `docs/audit.md` says what each event's fields mean.

use crate::digest::hex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Entry {
    /// The time, in milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// The part that decided: `keeper`, `guard`, `pipelock`, ...
    pub part: String,
    /// What it decided: `started`, `refused`, `allowed`, ...
    pub event: String,
    /// What the decision was about. The fields depend on the event.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// SHA-256 of the line before it, in hexadecimal; empty for the first line.
    pub previous: String,
}

impl Entry {
    /// Returns when the line was written.
    pub fn time(&self) -> SystemTime {
        time(self.time_ms)
    }

    /// Returns a field that is a whole number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.details.get(field)?.as_u64()
    }

    /// Returns a field that is text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.details.get(field)?.as_str()
    }
}

/// Returns the fields of a JSON object.
pub fn fields(details: Value) -> Map<String, Value> {
    match details {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Returns the hash by which the next line refers to this one. `line` has no newline at its end.
pub fn hash(line: &str) -> String {
    hex(line.as_bytes())
}

/// Cuts every text in `details` that is longer than `limit` bytes, and adds its length and digest, so that
/// two texts can still be told apart.
pub fn cut(details: &mut Map<String, Value>, limit: usize) {
    details.values_mut().for_each(|value| cut_value(value, limit));
}

fn cut_value(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) if text.len() > limit => {
            let kept = &text[..text.floor_char_boundary(limit)];
            *text = format!("{kept}... (cut: {} bytes, SHA-256 {})", text.len(), &hash(text)[..16]);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| cut_value(value, limit)),
        Value::Object(fields) => cut(fields, limit),
        _ => {}
    }
}

/// Converts a time from the log. Years are kept to four digits, whatever a line says.
pub fn time(ms: u64) -> SystemTime {
    const LAST: u64 = 253_402_300_799_999;
    UNIX_EPOCH + Duration::from_millis(ms.min(LAST))
}

/// Returns the current time in the log's format.
pub fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns a duration in the log's format: whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_text_is_cut_where_everybody_sees_it() {
        let mut details = Map::from_iter([
            ("short".to_owned(), json!("abc")),
            ("long".to_owned(), json!("\u{e4}".repeat(50_000))),
            ("inner".to_owned(), json!({ "list": ["x".repeat(2000), 7] })),
        ]);
        cut(&mut details, 1001);
        assert_eq!(details["short"], "abc");
        let long = details["long"].as_str().unwrap();
        assert!(long.starts_with(&"\u{e4}".repeat(500)) && long.len() < 1100, "{long}");
        assert!(long.contains("cut: 100000 bytes, SHA-256 "), "{long}");
        assert!(details["inner"]["list"][0].as_str().unwrap().len() < 1100);
        assert_eq!(details["inner"]["list"][1], 7);
    }
}
