//! What `bottle verify` found.

use serde::Serialize;

/// The state of a verification, and the last result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Whether it is under way.
    pub running: bool,
    /// When the last one ended, in milliseconds since 1970.
    pub at_ms: Option<u64>,
    /// Why there was no result, if there was none.
    pub failed: Option<String>,
    /// The verdict in one word.
    pub verdict: Option<String>,
    /// The verdict and its reasons, in sentences.
    pub says: Vec<String>,
    /// What was reached although it must not be.
    pub leaks: Vec<String>,
    /// Whether the guest is a stand-in, which proves nothing about a virtual machine.
    pub stand_in: bool,
    /// Who tried which ports, and which of them answered.
    pub strips: Vec<Strip>,
}

/// All ports, and which of them answered.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Strip {
    /// Who tried what.
    pub label: String,
    /// The ports of doors that answered.
    pub doors: Vec<u16>,
    /// Other ports that answered.
    pub open: Vec<u16>,
}
