//! Ports of a guest that the host can reach.

use core::fmt;
use core::num::NonZeroU16;
use serde::{Deserialize, Serialize};

/// A port of a guest that can be reached on this machine's loopback, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Published {
    /// The port on which a program in the guest listens.
    pub guest: NonZeroU16,
    /// The port of this machine's loopback; 0 for any that is free.
    pub host: u16,
}

impl Published {
    /// The most ports that one bottle publishes.
    pub const MOST: usize = 16;
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guest, host } = self;
        match host {
            0 => write!(f, "port {guest} of the guest on this machine's loopback, at any free port"),
            host => write!(f, "port {guest} of the guest at 127.0.0.1:{host}"),
        }
    }
}
