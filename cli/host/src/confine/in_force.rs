//! The limits that the kernel enforces on a process, and their description for a person.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The limits that the kernel enforces on a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InForce {
    /// The version of Landlock, if there is one. It limits which files may be opened; from versions 4 and 6
    /// on it limits more.
    pub landlock: Option<u32>,
    /// Whether seccomp limits the system calls.
    pub seccomp: bool,
    /// Whether programs that it starts are kept from gaining privileges.
    pub no_new_privs: bool,
}

/// The oldest version of Landlock with everything that we ask for.
const WHOLE_LANDLOCK: u32 = 6;

impl InForce {
    /// Names the feature that the kernel lacks entirely, if there is one.
    pub fn lacks(self) -> Option<&'static str> {
        match (self.seccomp, self.landlock.is_some()) {
            (true, true) => None,
            (true, false) => Some("Landlock"),
            (false, true) => Some("seccomp"),
            (false, false) => Some("seccomp and Landlock"),
        }
    }

    /// Returns whether every limit is in force.
    pub fn is_whole(self) -> bool {
        self.landlock.is_some_and(|version| version >= WHOLE_LANDLOCK) && self.seccomp && self.no_new_privs
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Some(version) if version >= WHOLE_LANDLOCK => write!(f, "Landlock {version}")?,
            Some(version) => write!(f, "Landlock {version}, which lacks parts")?,
            None => f.write_str("no Landlock")?,
        }
        f.write_str(if self.seccomp { ", seccomp" } else { ", no seccomp" })?;
        f.write_str(if self.no_new_privs { ", no new privileges" } else { ", new privileges" })
    }
}
