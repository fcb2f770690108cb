//! The network stack that speaks TCP with the guest, behind the guard.

pub mod dialect;

use crate::slug::Slug;
use crate::subnet::Subnet;
use dialect::Dialect;
use serde::{Deserialize, Serialize};

/// The network stack at the host's end of the link. Either one is in a network namespace that leads
/// nowhere, and in which only doors listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stack {
    /// gvproxy, a program: what the guest sends never reaches the host kernel's TCP.
    Gvproxy(Dialect),
    /// The host kernel's own stack, behind a tap: several times as fast, and one process less. Linux only.
    Kernel,
}

impl Stack {
    /// Returns the subnet of a bottle with this stack.
    pub fn subnet(self, slug: &Slug) -> Subnet {
        match self {
            Self::Gvproxy(dialect) => dialect.subnet(slug),
            Self::Kernel => slug.subnet(),
        }
    }
}

impl From<Dialect> for Stack {
    fn from(dialect: Dialect) -> Self {
        Self::Gvproxy(dialect)
    }
}
