//! What a process gives up for good before it reads a hostile byte.
//!
//! [`policy`] defines what each process may still do. [`landlock`] and [`seccomp`] make the kernel enforce
//! it, and [`limits`] gives up the rest: privileges, core files, inspection. All of it is permanent and is
//! inherited by children. If a kernel lacks a feature, the others still hold, and `bottle status` and
//! `bottle doctor` say which.

mod in_force;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod landlock;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod limits;
pub mod policy;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod seccomp;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod syscalls;

pub use in_force::InForce;
pub use policy::Policy;

use std::process::Command;

/// Confines this process for good, and returns what is in force. The process must still be single-threaded:
/// Landlock applies to the calling thread and the threads that it creates later.
///
/// # Errors
/// Returns an error if the kernel supports a feature but refuses to enforce it.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn this_process(policy: &Policy) -> anyhow::Result<InForce> {
    use anyhow::Context;
    limits::give_up(policy).context("cannot give up privileges")?;
    let status = limits::open_status().context("cannot open /proc/self/status")?;
    let mut version = None;
    if let Some(ruleset) = landlock::ruleset(policy).context("cannot set up Landlock")? {
        let said = ruleset.restrict_self().context("cannot apply Landlock")?;
        version = landlock::version().filter(|_| landlock::holds(&said));
    }
    seccomp::apply(&seccomp::filters(policy.calls)?).context("cannot apply seccomp")?;
    Ok(InForce { landlock: version, ..limits::in_force(status) })
}

/// Does nothing: on other systems a process cannot put such limits on itself alone.
///
/// # Errors
/// Never returns an error.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn this_process(_: &Policy) -> anyhow::Result<InForce> {
    Ok(InForce::default())
}

/// Confines a child that is about to start, and all of its own children.
///
/// # Errors
/// Returns an error if the kernel supports a feature but refuses to enforce it.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn child(command: &mut Command, policy: &Policy) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let mut ruleset = landlock::ruleset(policy)?;
    let filters = seccomp::filters(policy.calls)?;
    let policy = policy.clone();
    // SAFETY: the closure makes system calls with what was prepared before the fork, and only allocates
    // memory for an error.
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

/// Does nothing: other systems have no such limits.
///
/// # Errors
/// Never returns an error.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn child(_: &mut Command, _: &Policy) -> anyhow::Result<()> {
    Ok(())
}

/// Returns what this kernel offers.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn offered() -> InForce {
    InForce { landlock: landlock::version(), seccomp: seccomp::offered(), no_new_privs: true }
}

/// Returns what this system offers.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn offered() -> InForce {
    InForce::default()
}
