//! The state that a keeper's tasks share.

use crate::counters::Counters;
use crate::link::Link;
use crate::owner::Owner;
use bottle_core::plan::Plan;
use bottle_core::specification::Services;
use bottle_host::audit::Audit;
use bottle_host::confine::InForce;
use bottle_host::notify::Notifier;
use bottle_host::starter::Starter;
use bottle_host::state::Folder;
use bottle_sidecars::egress::EgressProxy;
use bottle_sidecars::git::Gate;
use bottle_sidecars::supervise::Supervise;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Instant;

/// The state that a keeper's tasks share.
pub struct Shared {
    pub folder: Folder,
    pub plan: Plan,
    pub services: Services,
    pub counters: Arc<Counters>,
    pub audit: Audit,
    pub link: Arc<Link>,
    pub egress_proxy: Arc<EgressProxy>,
    pub git: Arc<Gate>,
    pub supervise: Arc<Supervise>,
    pub starter: Arc<Starter>,
    pub notifier: Arc<Notifier>,
    pub confined: InForce,
    pub owner: Owner,
    pub started: Instant,
    pub jail_restarts: AtomicU32,
    /// Whether the process that holds the keys has ended.
    pub keys_ended: AtomicBool,
}
