//! How long an examination takes.

use std::time::Duration;

/// How long frames may be sent. Behind a guard that refuses, it takes about a second, and much longer
/// on a machine that is emulated.
pub const LIMIT: Duration = Duration::from_secs(40);
/// How long an examination takes at most, its last look at the doors among it.
pub const LONGEST: Duration = Duration::from_secs(70);
