//! The limits of a bottle's egress proxy.

use serde::{Deserialize, Serialize};

/// What the egress proxy grants its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// The most connections at a time. Further ones wait to be accepted.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub connections: u16,
    /// How long a connection may go without a byte in either direction, in seconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub idle_seconds: u32,
    /// How many bytes a second pass in both directions on all connections together; 0 means no limit.
    pub bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Ten minutes: an agent's model may think for some of them before its first byte.
        Self { connections: 2048, idle_seconds: 4 * 3600, bytes_per_second: 0 }
    }
}
