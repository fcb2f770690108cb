//! The users that machines run as.

/// When root starts smolvm, it gives each machine a user of its own, from this user id up.
pub const FIRST_MACHINE_USER: u32 = 2_000_000;
