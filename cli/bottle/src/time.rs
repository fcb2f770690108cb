//! Points in time, as the command line takes them.

use std::time::SystemTime;

/// A point in time: `10m` ago, or `2026-11-24T09:30:00Z`.
///
/// # Errors
/// In words, where it is neither.
pub fn point_in_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "that is before all time".to_owned());
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "neither a while, like 10m or 2h, nor a time, like 2026-11-24T09:30:00Z".to_owned())
}
