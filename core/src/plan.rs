//! Everything that is decided about a bottle before anything starts.

use crate::doors::Doors;
use crate::egress::Rules;
use crate::environment;
use crate::guard::Guard;
use crate::helper::HELPER;
use crate::parent::Parent;
use crate::slug::Slug;
use crate::specification::{Published, Setup};
use crate::stack::Stack;
use crate::subnet::Subnet;
use crate::text::{EnvName, ImageDigest, ImageRef, MountPath, Word};
use crate::upstream::{self, Conflict, Upstream};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A bottle about which everything is decided. It can be printed, compared and rendered without starting
/// anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The bottle's name.
    pub slug: Slug,
    /// The network stack that speaks TCP with the guest.
    pub stack: Stack,
    /// The guest link's addresses.
    pub subnet: Subnet,
    /// The active sidecars and their ports.
    pub doors: Doors,
    /// The virtual machine.
    pub guest: Guest,
    /// What the egress proxy lets through.
    pub egress: Rules,
    /// The proxy through which the egress proxy and its upstreams leave this machine, if they need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The origins to which the egress proxy sends requests in the agent's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// What is installed in the machine before it is used.
    #[serde(default, skip_serializing_if = "Setup::is_empty")]
    pub setup: Setup,
    /// The agent that the bottle is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Slug>,
    /// The guest's ports that this machine can reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Published>,
}

/// The virtual machine's side of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guest {
    /// What it boots from. Without an image it is smolvm's bare Alpine.
    pub image: Option<ImageRef>,
    /// The digest of the image, if it comes from a registry and the name was looked up there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<ImageDigest>,
    /// The number of its processors.
    pub cpus: u8,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// The folder in which commands start.
    pub workdir: Option<MountPath>,
    /// The host folders that it sees.
    pub volumes: Vec<Volume>,
    /// Its environment, without what [`environment::variables`] adds.
    pub env: BTreeMap<EnvName, Word>,
}

/// A host folder that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Volume {
    /// The folder on the host.
    pub host: MountPath,
    /// Its path in the guest.
    pub guest: MountPath,
    /// Whether the guest may change what is in it.
    pub writable: bool,
}

/// The guest's environment sets a variable that bottle sets itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is set by bottle and cannot be set by hand")]
pub struct ReservedVariable(pub String);

impl Plan {
    /// Puts a plan together.
    ///
    /// # Errors
    /// Returns [`ReservedVariable`] if the guest's environment names a variable that bottle sets.
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
        let (upstreams, setup, publish) = (Vec::new(), Setup::default(), Vec::new());
        let (parent, agent) = (None, None);
        Ok(Self { slug, stack, subnet, doors, guest, egress, parent, upstreams, setup, agent, publish })
    }

    /// Adds upstreams to the plan.
    ///
    /// # Errors
    /// Returns [`Conflict`] if two of them, or one and the guest's environment, conflict.
    pub fn with_upstreams(self, upstreams: Vec<Upstream>) -> Result<Self, Conflict> {
        upstream::check(&upstreams, |name| self.guest.env.contains_key(name))?;
        Ok(Self { upstreams, ..self })
    }

    /// Returns whether the bottle needs the process that holds keys: for an upstream, or for the login of a parent
    /// proxy, which it alone speaks to.
    pub fn needs_keys(&self) -> bool {
        !self.upstreams.is_empty() || self.parent.is_some()
    }

    /// Returns the guest's whole environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut env = environment::variables(&self.slug, &self.doors);
        let door = environment::url(self.doors.pipelock());
        let upstreams = self.upstreams.iter().flat_map(|upstream| upstream.environment(&door));
        env.extend(upstreams.map(|(name, url)| (name.to_string(), url)));
        let own = |name: &EnvName| !environment::is_added_to(name.as_str());
        let guests = self.guest.env.iter().filter(|(name, _)| own(name));
        env.extend(guests.map(|(name, value)| (name.to_string(), value.to_string())));
        for (name, value) in self.guest.env.iter().filter(|(name, _)| !own(name)) {
            environment::add(&mut env, name.as_str(), value.as_str());
        }
        env
    }

    /// Returns the command that gives the guest its network, as it is run in the guest.
    pub fn link(&self) -> Vec<String> {
        let mut words =
            [HELPER, "link", "--subnet", &self.subnet.octet().to_string()].map(ToString::to_string).to_vec();
        if self.stack == Stack::Sockets {
            let ports: Vec<String> = self.doors.ports().iter().map(ToString::to_string).collect();
            words.extend(["--doors".to_string(), ports.join(",")]);
        }
        words
    }

    /// Returns the guard that enforces this plan.
    pub fn guard(&self) -> Guard {
        Guard::new(self.subnet, &self.doors.ports())
    }
}
