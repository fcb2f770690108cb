//! What all attempts have in common: how long they wait, what an error means, how bytes are shown.

use super::protocol::Answer;
use std::io;
use std::time::Duration;

/// How long a destination may take before it counts as silent.
pub const PATIENCE: Duration = Duration::from_millis(800);

impl Answer {
    /// Creates an answer that only says why nothing could be tried.
    pub fn failed(error: &impl ToString) -> Self {
        Self { failed: 1, error: error.to_string(), ..Self::default() }
    }

    /// Counts an error according to its meaning: a refusal, silence, or something else.
    pub fn count(&mut self, error: &io::Error) {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::ConnectionReset | Kind::PermissionDenied => self.refused += 1,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NotFound => self.refused += 1,
            _ if is_silence(error) => self.silent += 1,
            _ => {
                self.failed += 1;
                self.error = error.to_string();
            }
        }
    }
}

/// Tells whether an error means that no answer came in time.
pub fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Converts bytes to text that a report can show.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
