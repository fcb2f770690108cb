//! Points and lengths of time, as the command line takes them.

use std::time::{Duration, SystemTime};

/// Parses a point in time: a while ago, like `10m`; a day, like `2026-11-24`; or a time of a day, like
/// `2026-11-24T09:30`, with or without its seconds and the `Z`. Times are UTC, like those that `logs` prints.
///
/// # Errors
/// Returns the forms that are accepted.
pub fn point_in_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "that is too long ago".to_owned());
    }
    let whole = match text.trim_end_matches('Z').len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}:00Z", text.trim_end_matches('Z')),
        _ => text.to_owned(),
    };
    humantime::parse_rfc3339_weak(&whole).map_err(|_| {
        "expected a while, like 10m or 2h, a day, like 2026-11-24, or a time in UTC, like 2026-11-24T09:30".to_owned()
    })
}

/// Parses a length of time: `30s`, `1h 30m`. A number alone is seconds.
///
/// # Errors
/// Returns the forms that are accepted.
pub fn while_long(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
    let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let length = length.or_else(|| humantime::parse_duration(text).ok()).filter(|length| !length.is_zero());
    length.ok_or_else(|| "expected a time, like 30s, 10m or 2h".to_owned())
}

/// Writes a length of time with its two largest units: `3d 4h`, `12m 5s`.
pub fn brief(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (name, unit) = units[first];
    match units.get(first + 1) {
        Some((next, smaller)) => format!("{}{name} {}{next}", seconds / unit, seconds % unit / smaller),
        None => format!("{seconds}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_written_with_its_two_largest_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (90_061, "1d 1h")] {
            assert_eq!(brief(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_length_of_time_is_seconds_or_has_a_unit() {
        for (text, seconds) in [("30", 30.0), ("30s", 30.0), ("0.5", 0.5), ("1h 30m", 5400.0), ("2h", 7200.0)]
        {
            assert_eq!(while_long(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-1", "nan", "inf", "1e300", "soon", "5x"] {
            assert!(while_long(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_and_a_time_without_a_zone_are_utc() {
        let day = humantime::parse_rfc3339("2026-11-25T00:00:00Z").unwrap();
        let half_past_nine = day + Duration::from_secs(9 * 3600 + 1800);
        for (text, meant) in [
            ("2026-11-25", day),
            ("2026-11-25T09:30", half_past_nine),
            ("2026-11-25 09:30", half_past_nine),
            ("2026-11-25T09:30Z", half_past_nine),
            ("2026-11-25T09:30:00", half_past_nine),
            ("2026-11-25T09:30:00Z", half_past_nine),
            ("2026-11-25T09:30:00.000Z", half_past_nine),
        ] {
            assert_eq!(point_in_time(text), Ok(meant), "{text}");
        }
        let ago = SystemTime::now().duration_since(point_in_time("2h").unwrap()).unwrap();
        assert!(ago.as_secs().abs_diff(7200) < 60);
        for text in [
            "",
            "yesterday",
            "2026-11-31",
            "2026-13-01",
            "2026-11-25Z",
            "25.11.2026",
            "-10m",
            "2026-11-25T25:00",
        ] {
            assert!(point_in_time(text).is_err(), "{text}");
        }
    }
}
