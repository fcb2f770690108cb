//! What a confined process gives up apart from files and system calls.

use super::in_force::InForce;
use super::policy::{Calls, Policy};
use rustix::io::Result;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, set_capabilities, set_no_new_privs};
use std::fs::File;
use std::io::Read;

/// Gives up the ability to gain privileges, core files, capabilities, and inspection by other processes.
///
/// # Errors
/// Returns an error if the kernel refuses.
pub fn give_up(policy: &Policy) -> Result<()> {
    set_no_new_privs(true)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A process that root started in somebody else's home must still be able to reach its own files. Landlock
    // limits which ones.
    let kept = match policy.calls {
        Calls::Keeper | Calls::Git if super::landlock::version().is_some() => CapabilitySet::DAC_OVERRIDE,
        _ => CapabilitySet::empty(),
    };
    let mut sets = rustix::thread::capabilities(None)?;
    sets.permitted &= kept;
    sets.effective &= kept;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)?;
    // A program that it runs can be inspected again.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Opens the kernel's description of this process while that is still possible.
///
/// # Errors
/// Returns an error if there is no /proc.
pub fn open_status() -> std::io::Result<File> {
    File::open("/proc/self/status")
}

/// Returns what the kernel says is in force, not what was requested.
pub fn in_force(mut file: File) -> InForce {
    let mut status = String::new();
    let _ = file.read_to_string(&mut status);
    let says = |name: &str, value: &str| {
        status.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim() == value))
    };
    InForce { landlock: None, seccomp: says("Seccomp:", "2"), no_new_privs: says("NoNewPrivs:", "1") }
}
