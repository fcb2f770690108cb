//! The network stack that speaks TCP with the agent.

pub mod dialect;

use crate::slug::Slug;
use crate::subnet::Subnet;
use dialect::Dialect;
use serde::{Deserialize, Serialize};

/// The network stack that speaks TCP with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stack {
    /// gvproxy, a program in a network namespace that leads nowhere, and in which only doors listen: what the guest sends
    /// never reaches the host kernel's TCP.
    Gvproxy(Dialect),
    /// The guest's own kernel: no frame leaves the guest. Its helper accepts connections to the doors, and the host
    /// sees a stream for each ([`crate::stream`]).
    Sockets,
}

impl Stack {
    /// Returns the subnet of a bottle with this stack.
    pub fn subnet(self, slug: &Slug) -> Subnet {
        match self {
            Self::Gvproxy(dialect) => dialect.subnet(slug),
            Self::Sockets => slug.subnet(),
        }
    }
}

impl From<Dialect> for Stack {
    fn from(dialect: Dialect) -> Self {
        Self::Gvproxy(dialect)
    }
}
