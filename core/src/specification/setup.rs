//! What is installed in a new machine before it is used.

use crate::egress::HostRule;
use crate::text::Word;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Commands that are run once in a new machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setup {
    /// The commands, each for a shell in the guest.
    pub run: Vec<Word>,
    /// Hosts that may be reached while they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<HostRule>,
}

impl Setup {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty()
    }
}
