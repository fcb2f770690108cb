//! What the kernel holds a process to, and how that is told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the kernel holds a process to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[derive(schemars::JsonSchema)]
pub struct InForce {
    /// The version of Landlock, where there is one: which files may be opened, and more from 4 and 6 on.
    pub landlock: Option<u32>,
    /// Which system calls may be made.
    pub seccomp: bool,
    /// No program that it starts has more privileges.
    pub no_new_privs: bool,
}

/// The version of Landlock from which on everything that is asked of it is there.
const WHOLE_LANDLOCK: u32 = 6;

impl InForce {
    /// What is missing altogether, in words.
    pub fn lacks(self) -> Option<&'static str> {
        match (self.seccomp, self.landlock.is_some()) {
            (true, true) => None,
            (true, false) => Some("Landlock"),
            (false, true) => Some("seccomp"),
            (false, false) => Some("seccomp and Landlock"),
        }
    }

    /// Whether every part is.
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
