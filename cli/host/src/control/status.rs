//! The status of a keeper.

use crate::confine::InForce;
use bottle_core::egress::Rules;
use bottle_core::guard::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The status of a keeper.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Status {
    /// Its process number.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether a guest is connected.
    pub guest: bool,
    /// Whether a guest was ever connected.
    pub guest_seen: bool,
    /// Whether the process of the last accepted guest runs behind a seccomp filter, according to the kernel;
    /// `None` if there is no such process.
    #[serde(default)]
    pub machine_filtered: Option<bool>,
    /// How often gvproxy was restarted.
    pub jail_restarts: u32,
    /// Whether the process that holds the upstreams' keys has ended, so that requests to them fail.
    #[serde(default)]
    pub keys_ended: bool,
    /// The limits that the kernel enforces on the keeper.
    #[serde(default)]
    pub confined: InForce,
    /// The agent's last report.
    #[serde(default)]
    pub report: Option<String>,
    /// Whether the disk refused the log's last line.
    #[serde(default)]
    pub log_failing: bool,
    /// How many frames passed and how many did not.
    pub counters: Snapshot,
    /// The egress proxy's current rules.
    pub rules: Rules,
}

/// Counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Snapshot {
    /// Frames from the guest that were passed on.
    pub frames_from_guest: u64,
    /// Their bytes.
    pub bytes_from_guest: u64,
    /// Frames to the guest that were passed on.
    pub frames_to_guest: u64,
    /// Their bytes.
    pub bytes_to_guest: u64,
    /// Frames from the guest that were refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Frames to the guest that were dropped, by reason.
    pub dropped: BTreeMap<Refusal, u64>,
}
