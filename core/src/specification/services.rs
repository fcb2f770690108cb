//! What a keeper serves.

use super::audit::Need;
use super::gate::Repo;
use super::limits::Limits;
use super::sidecar::SidecarForm;
use crate::sidecar::Sidecar;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a keeper does besides carrying frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// How each active sidecar is served. One that is missing here is built in.
    pub sidecars: BTreeMap<Sidecar, SidecarForm>,
    /// What happens when a line of the audit log cannot be written.
    pub audit: Need,
    /// What the egress proxy grants its clients.
    pub limits: Limits,
    /// The repositories of the built-in git-gate.
    #[serde(default)]
    pub git: Vec<Repo>,
    /// The command that tells a person what happens, with its arguments; empty if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

impl Services {
    /// Returns how a sidecar is served.
    pub fn form(&self, sidecar: Sidecar) -> &SidecarForm {
        self.sidecars.get(&sidecar).unwrap_or(&SidecarForm::Builtin)
    }
}
