//! Limits which files a process may open, with Landlock.

use super::policy::{Calls, Policy};
use anyhow::Result;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

/// The version of Landlock that we ask for. An older kernel enforces what it can.
const WANTED: ABI = ABI::V6;

/// Returns the rules for a policy, or `None` if the kernel has no Landlock.
///
/// # Errors
/// Returns an error if the kernel refuses a rule.
pub fn ruleset(policy: &Policy) -> Result<Option<RulesetCreated>> {
    if version().is_none() {
        return Ok(None);
    }
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let files = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let write: BitFlags<AccessFs> = match policy.calls {
        // git moves objects between folders. It creates no links or devices.
        Calls::Git => files | AccessFs::MakeDir | AccessFs::RemoveDir | AccessFs::Refer,
        Calls::Keeper | Calls::Keys => files,
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    if policy.calls != Calls::Keeper {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let created = ruleset
        .create()?
        .add_rules(path_beneath_rules(&policy.read, read))?
        .add_rules(path_beneath_rules(&policy.run, read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&policy.write, write))?
        .add_rules(path_beneath_rules(&policy.remove, AccessFs::RemoveFile))?;
    Ok(Some(created))
}

/// Returns whether the kernel says that the rules are in force.
pub fn holds(said: &RestrictionStatus) -> bool {
    said.ruleset != RulesetStatus::NotEnforced
}

/// Returns the kernel's version of Landlock, or `None` if it has none or it is switched off.
pub fn version() -> Option<u32> {
    const VERSION: u32 = 1;
    // SAFETY: this call only asks for the version and takes no pointer.
    #[expect(unsafe_code, reason = "no crate says which version it is")]
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION)
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
