//! What a process gives up before it reads a hostile byte, and never gets back.
//!
//! [`policy`] says what each process may still do; [`landlock`] and [`seccomp`] have the kernel hold
//! it to that, and [`limits`] gives up the rest: privileges, core files, being looked into. All of it
//! is for good, and goes down to children. Where a kernel lacks a part, the other parts stand, and
//! `bottle status` and `bottle doctor` say which do.

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod landlock;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod limits;
pub mod policy;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod seccomp;

pub use policy::Policy;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::process::Command;

/// What the kernel holds a process to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The version of Landlock, where there is one: which files may be opened, and more from 4 and 6 on.
    pub landlock: Option<u32>,
    /// Which system calls may be made.
    pub seccomp: bool,
    /// No program that it starts has more privileges.
    pub no_new_privs: bool,
}

/// The version of Landlock from which on everything that is asked of it is there.
pub const WHOLE_LANDLOCK: u32 = 6;

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

/// Confines this process for good, and says what is in force. It must have no other thread yet:
/// Landlock holds the thread that asks and those that it makes from then on.
///
/// # Errors
/// Where the kernel has a part and refuses it.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn this_process(policy: &Policy) -> anyhow::Result<InForce> {
    use anyhow::Context;
    limits::give_up(policy).context("giving up privileges")?;
    let status = limits::open_status().context("/proc")?;
    let mut version = None;
    if let Some(ruleset) = landlock::ruleset(policy).context("Landlock")? {
        let said = ruleset.restrict_self().context("Landlock")?;
        version = landlock::version().filter(|_| landlock::holds(&said));
    }
    seccomp::apply(&seccomp::filters(policy.calls)?).context("seccomp")?;
    Ok(InForce { landlock: version, ..limits::in_force(status) })
}

/// Other systems have nothing of this kind that a process can do to itself alone.
///
/// # Errors
/// None.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn this_process(_: &Policy) -> anyhow::Result<InForce> {
    Ok(InForce::default())
}

/// Confines a child that is about to be started, with all of its own children.
///
/// # Errors
/// Where the kernel has a part and refuses it.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn child(command: &mut Command, policy: &Policy) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let mut ruleset = landlock::ruleset(policy)?;
    let filters = seccomp::filters(policy.calls)?;
    let policy = policy.clone();
    // SAFETY: the closure makes system calls with what was prepared before the fork, and allocates
    // nothing but what an error takes.
    #[expect(unsafe_code, reason = "only code that runs after fork can give up the child's rights")]
    unsafe {
        command.pre_exec(move || {
            limits::give_up(&policy)?;
            if let Some(ruleset) = ruleset.take() {
                ruleset.restrict_self().map_err(|_| std::io::ErrorKind::PermissionDenied)?;
            }
            seccomp::apply(&filters).map_err(|_| std::io::ErrorKind::PermissionDenied.into())
        });
    }
    Ok(())
}

/// Other systems have nothing of this kind.
///
/// # Errors
/// None.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn child(_: &mut Command, _: &Policy) -> anyhow::Result<()> {
    Ok(())
}

/// What this kernel offers.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn offered() -> InForce {
    InForce { landlock: landlock::version(), seccomp: seccomp::offered(), no_new_privs: true }
}

/// What this system offers.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn offered() -> InForce {
    InForce::default()
}
