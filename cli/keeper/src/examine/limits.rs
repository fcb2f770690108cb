//! The time limits of an examination.

use std::time::Duration;

/// How long frames may be sent. With a guard that refuses them it takes about a second, and much longer on an
/// emulated machine.
pub const LIMIT: Duration = Duration::from_secs(40);
/// How long an examination may take in total, including the last look at the doors.
pub const LONGEST: Duration = Duration::from_secs(70);
