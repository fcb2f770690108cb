//! The users that machines run as.

/// The first of the user ids that smolvm, started by root, gives to machines. Each machine gets its own.
pub const FIRST_MACHINE_USER: u32 = 2_000_000;
