//! Everything about a bottle that is decided before anything starts.

pub use crate::doors::{Doors, InvalidDoors};
use crate::egress::Rules;
use crate::environment;
use crate::guard::Guard;
use crate::slug::Slug;
use crate::stack::Stack;
use crate::subnet::Subnet;
use crate::text::{EnvName, ImageRef, MountPath, Word};
use crate::upstream::{self, Conflict, Upstream};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A bottle, fully decided: it can be printed, compared and rendered without starting anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The bottle's name.
    pub slug: Slug,
    /// Who speaks TCP with the guest.
    pub stack: Stack,
    /// The guest link's addresses.
    pub subnet: Subnet,
    /// The active sidecars and their ports.
    pub doors: Doors,
    /// What the virtual machine is made of.
    pub guest: Guest,
    /// What the built-in egress proxy lets through.
    pub egress: Rules,
    /// Origins that it asks in the agent's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
}

/// The virtual machine's side of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What it boots from; without one, smolvm's bare Alpine.
    pub image: Option<ImageRef>,
    /// How many processors it has.
    pub cpus: u8,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// The folder in which commands start.
    pub workdir: Option<MountPath>,
    /// Host folders that it sees.
    pub volumes: Vec<Volume>,
    /// Its environment, without what [`environment::variables`] adds.
    pub env: BTreeMap<EnvName, Word>,
}

/// A host folder that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The folder on the host.
    pub host: MountPath,
    /// Where the guest finds it.
    pub guest: MountPath,
    /// Whether the guest may change it.
    pub writable: bool,
}

/// A variable that a bottle's own configuration may not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is set by bottle and cannot be set by hand")]
pub struct ReservedVariable(pub String);

impl Plan {
    /// Puts a plan together.
    ///
    /// # Errors
    /// [`ReservedVariable`] when the guest's environment names a variable that bottle sets.
    pub fn new(
        slug: Slug,
        stack: impl Into<Stack>,
        doors: Doors,
        guest: Guest,
        egress: Rules,
    ) -> Result<Self, ReservedVariable> {
        if let Some(name) = guest.env.keys().find(|name| environment::is_reserved(name.as_str())) {
            return Err(ReservedVariable(name.to_string()));
        }
        let stack = stack.into();
        let subnet = stack.subnet(&slug);
        Ok(Self { slug, stack, subnet, doors, guest, egress, upstreams: Vec::new() })
    }

    /// The same with upstreams.
    ///
    /// # Errors
    /// [`Conflict`] where two of them, or one and the guest's environment, are in each other's way.
    pub fn with_upstreams(self, upstreams: Vec<Upstream>) -> Result<Self, Conflict> {
        upstream::check(&upstreams, |name| self.guest.env.contains_key(name))?;
        Ok(Self { upstreams, ..self })
    }

    /// The guest's whole environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut env = environment::variables(&self.slug, &self.doors);
        let door = environment::url(self.doors.pipelock());
        let upstreams = self.upstreams.iter().flat_map(|upstream| upstream.environment(&door));
        env.extend(upstreams.map(|(name, url)| (name.to_string(), url)));
        env.extend(self.guest.env.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        env
    }

    /// The guard that enforces this plan.
    pub fn guard(&self) -> Guard {
        Guard::new(self.subnet, &self.doors.ports())
    }
}
