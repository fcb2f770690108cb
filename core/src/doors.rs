//! The doors of a bottle.

use crate::sidecar::Sidecar;
use alloc::collections::{BTreeMap, BTreeSet};
use serde::{Deserialize, Serialize};

/// The doors of a bottle: each active sidecar's port. `pipelock` always has one, and no two sidecars
/// have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Sidecar, u16>", into = "BTreeMap<Sidecar, u16>")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Doors {
    pipelock: u16,
    others: BTreeMap<Sidecar, u16>,
}

/// Why no bottle can have a set of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDoors {
    /// The egress proxy has no port.
    #[error("every bottle has pipelock")]
    NoPipelock,
    /// Two sidecars have the same port.
    #[error("two sidecars cannot share port {0}")]
    Shared(u16),
    /// The port is 0, which means "any".
    #[error("{0} needs a port")]
    Zero(Sidecar),
}

impl Doors {
    /// Returns the egress proxy's port.
    pub fn pipelock(&self) -> u16 {
        self.pipelock
    }

    /// Returns the port of a sidecar, if it is active.
    pub fn port(&self, sidecar: Sidecar) -> Option<u16> {
        match sidecar {
            Sidecar::Pipelock => Some(self.pipelock),
            other => self.others.get(&other).copied(),
        }
    }

    /// Returns every active sidecar with its port.
    pub fn iter(&self) -> impl Iterator<Item = (Sidecar, u16)> + '_ {
        let first = (Sidecar::Pipelock, self.pipelock);
        core::iter::once(first).chain(self.others.iter().map(|(&s, &p)| (s, p)))
    }

    /// Returns every port.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.iter().map(|(_, port)| port).collect()
    }
}

impl TryFrom<BTreeMap<Sidecar, u16>> for Doors {
    type Error = InvalidDoors;

    fn try_from(mut ports: BTreeMap<Sidecar, u16>) -> Result<Self, InvalidDoors> {
        let mut seen = BTreeSet::new();
        for (&sidecar, &port) in &ports {
            if port == 0 {
                return Err(InvalidDoors::Zero(sidecar));
            }
            if !seen.insert(port) {
                return Err(InvalidDoors::Shared(port));
            }
        }
        let pipelock = ports.remove(&Sidecar::Pipelock).ok_or(InvalidDoors::NoPipelock)?;
        Ok(Self { pipelock, others: ports })
    }
}

impl From<Doors> for BTreeMap<Sidecar, u16> {
    fn from(doors: Doors) -> Self {
        doors.iter().collect()
    }
}
