//! The state of a keeper.

use crate::confine::InForce;
use bottle_core::egress::Rules;
use bottle_core::guard::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a keeper is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[derive(schemars::JsonSchema)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether a guest is connected.
    pub guest: bool,
    /// Whether a guest was ever connected.
    pub guest_seen: bool,
    /// Whether the process of the guest that was greeted last runs behind a seccomp filter, as the
    /// kernel says; `None` where there is none.
    #[serde(default)]
    pub machine_filtered: Option<bool>,
    /// How often gvproxy had to be started again.
    pub jail_restarts: u32,
    /// What the kernel holds the keeper to.
    #[serde(default)]
    pub confined: InForce,
    /// What the agent said last about what it does.
    #[serde(default)]
    pub report: Option<String>,
    /// Whether the disk did not take the log's last line.
    #[serde(default)]
    pub log_failing: bool,
    /// What passed and what did not.
    pub counters: Snapshot,
    /// What the egress proxy lets through now.
    pub rules: Rules,
}

/// Counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[derive(schemars::JsonSchema)]
pub struct Snapshot {
    /// Frames from the guest that were handed on.
    pub frames_from_guest: u64,
    /// Their bytes.
    pub bytes_from_guest: u64,
    /// Frames to the guest that were handed on.
    pub frames_to_guest: u64,
    /// Their bytes.
    pub bytes_to_guest: u64,
    /// Frames from the guest that were refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Frames to the guest that were dropped, by reason.
    pub dropped: BTreeMap<Refusal, u64>,
}
