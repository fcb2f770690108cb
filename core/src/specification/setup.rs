//! What is installed in a machine before it is used.

use crate::egress::HostRule;
use crate::text::{ImageDigest, Word};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Commands that are run once, before a bottle is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setup {
    /// The commands, each for a shell in the guest.
    pub run: Vec<Word>,
    /// Hosts that may be reached while they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<HostRule>,
    /// Where their results are kept.
    #[serde(default, skip_serializing_if = "SetupKeep::is_disk")]
    pub keep: SetupKeep,
    /// The image that holds their results, if they are kept in one and it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<ImageDigest>,
}

/// Where the results of a setup are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SetupKeep {
    /// On the disk of each machine. The commands see the project.
    #[default]
    Disk,
    /// In an image. The commands run in a machine of their own, without the project, and every machine with the same
    /// image and setup starts from what they made.
    Image,
}

impl SetupKeep {
    fn is_disk(&self) -> bool {
        *self == Self::Disk
    }
}

impl Setup {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// Returns whether it runs in a machine of its own, and its results are kept in an image.
    pub fn is_for_image(&self) -> bool {
        !self.is_empty() && self.keep == SetupKeep::Image
    }
}
