//! What this kernel offers to confine a process with.

use std::path::Path;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// A filter of system calls.
    pub seccomp: bool,
    /// A process's own limits on files.
    pub landlock: bool,
}

impl Offers {
    /// Asks this kernel.
    pub fn here() -> Self {
        Self {
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            landlock: has_landlock(),
        }
    }

    /// What is missing, in words.
    pub fn lacks(self) -> Option<&'static str> {
        match (self.seccomp, self.landlock) {
            (true, true) => None,
            (true, false) => Some("Landlock"),
            (false, true) => Some("seccomp"),
            (false, false) => Some("seccomp and Landlock"),
        }
    }
}

/// Asked for by making a set of rules, and not by its name in a list: that is in a file system which
/// few containers have mounted.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
fn has_landlock() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.handle_access(AccessFs::from_all(ABI::V1)).is_ok_and(|rules| rules.create().is_ok())
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
fn has_landlock() -> bool {
    false
}
