//! One line of the log. `docs/audit.md` says what each event's fields mean.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Entry {
    /// When it was written.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.time_ms)
    }
}

/// What the next line says of this one, which has no newline at its end.
pub fn hash(line: &str) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Now, as the log writes it.
pub fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration as the log writes it: whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
