//! Limits which system calls a process may make, with seccomp.
//!
//! The keeper and the process that holds keys have a list of allowed calls. Any other call fails as it would
//! on a kernel without it, which every library can handle. git starts many kinds of programs, so it has a
//! list of forbidden calls. A call that only an attacker would make ends the process.

use super::policy::Calls;
use super::syscalls::{INTERNALS, INTERNALS_OF_ARCH, KEEPER, KEEPER_OF_ARCH, ORDINARY, ORDINARY_OF_ARCH};
use anyhow::Result;
use libc::{AF_INET, AF_INET6, AF_NETLINK, SOCK_DGRAM, SOCK_STREAM};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;

/// System calls, with rules for their arguments. No rules means any arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Returns the filters for a set of calls, in the order in which to apply them. There are none if the kernel
/// has no seccomp.
///
/// # Errors
/// Returns an error if there are no filters for this architecture.
pub fn filters(calls: Calls) -> Result<Vec<BpfProgram>> {
    if !offered() {
        return Ok(Vec::new());
    }
    Ok(match calls {
        Calls::Git => vec![
            denying(plain(&[INTERNALS, INTERNALS_OF_ARCH]), SeccompAction::KillProcess)?,
            denying(forbidden_to_git()?, SeccompAction::Errno(errno(libc::EPERM)))?,
        ],
        Calls::Keeper | Calls::Keys => {
            let mut allowed = plain(&[ORDINARY, ORDINARY_OF_ARCH]);
            allowed.extend(limited_by_argument()?);
            if calls == Calls::Keeper {
                allowed.extend(plain(&[KEEPER, KEEPER_OF_ARCH]));
                allowed.extend(sockets_and_threads()?);
            }
            let starts = [libc::SYS_execve, libc::SYS_execveat];
            vec![
                allowing(allowed)?,
                denying(plain(&[INTERNALS, INTERNALS_OF_ARCH, &starts]), SeccompAction::KillProcess)?,
            ]
        }
    })
}

/// Applies filters to this thread and the threads that it creates later.
///
/// # Errors
/// Returns an error if the kernel refuses one.
pub fn apply(filters: &[BpfProgram]) -> Result<(), seccompiler::Error> {
    filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter))
}

/// Returns whether this kernel has seccomp.
pub fn offered() -> bool {
    std::path::Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

/// Returns the calls that are allowed with certain arguments.
fn limited_by_argument() -> Result<Rules> {
    let (write, run) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    let own = u64::from(std::process::id());
    Ok(Rules::from([
        // No memory may be both writable and executable, so that an attacker's data never becomes code.
        (
            libc::SYS_mmap,
            vec![
                SeccompRule::new(vec![has(2, run, 0)?])?,
                SeccompRule::new(vec![has(2, run | write, run)?, has(3, libc::MAP_ANONYMOUS as u64, 0)?])?,
            ],
        ),
        (libc::SYS_mprotect, vec![SeccompRule::new(vec![has(2, run, 0)?])?]),
        // Signals to the process itself, which is how a program aborts.
        (libc::SYS_kill, vec![SeccompRule::new(vec![is(0, own)?])?]),
        (libc::SYS_tgkill, vec![SeccompRule::new(vec![is(0, own)?])?]),
        // Limits may be read, but not set.
        (libc::SYS_prlimit64, vec![SeccompRule::new(vec![SeccompCondition::new(2, Qword, Eq, 0)?])?]),
        (
            libc::SYS_ioctl,
            [libc::FIONBIO, libc::FIONREAD, libc::TCGETS, libc::FIOCLEX]
                .iter()
                .map(|request| Ok(SeccompRule::new(vec![is(1, *request)?])?))
                .collect::<Result<_>>()?,
        ),
        (
            libc::SYS_prctl,
            [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_SET_NO_NEW_PRIVS]
                .iter()
                .map(|option| Ok(SeccompRule::new(vec![is(0, option.unsigned_abs().into())?])?))
                .collect::<Result<_>>()?,
        ),
    ]))
}

/// Returns the calls for the network, for the route lookups of the resolver, and for threads, but not for
/// processes. Local sockets are excluded, because another bottle's keeper may be behind a path; so are raw
/// and listening sockets.
fn sockets_and_threads() -> Result<Rules> {
    const TYPE: u64 = 0xf;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            let kind = u64::from(kind.unsigned_abs());
            sockets.push(SeccompRule::new(vec![is(0, family.unsigned_abs().into())?, has(1, TYPE, kind)?])?);
        }
    }
    let route = libc::NETLINK_ROUTE.unsigned_abs().into();
    sockets.push(SeccompRule::new(vec![is(0, AF_NETLINK.unsigned_abs().into())?, is(2, route)?])?);
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    Ok(Rules::from([
        (libc::SYS_socket, sockets),
        // `clone3` keeps its flags where no filter sees them. Without it, the C library uses this call.
        (libc::SYS_clone, vec![SeccompRule::new(vec![has(0, thread, thread)?])?]),
    ]))
}

/// Returns what git must not do: open sockets of any kind, or create namespaces, in which it would be root.
fn forbidden_to_git() -> Result<Rules> {
    let mut rules = plain(&[&[libc::SYS_socket, libc::SYS_connect, libc::SYS_listen, libc::SYS_bind]]);
    let user = libc::CLONE_NEWUSER.unsigned_abs().into();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![has(0, user, user)?])?]);
    Ok(rules)
}

/// Matches an argument with exactly this value.
fn is(argument: u8, value: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Dword, Eq, value)?)
}

/// Matches an argument with exactly these bits of the mask.
fn has(argument: u8, mask: u64, bits: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Dword, MaskedEq(mask), bits)?)
}

fn plain(lists: &[&[i64]]) -> Rules {
    lists.iter().flat_map(|list| list.iter()).map(|call| (*call, Vec::new())).collect()
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

fn allowing(rules: Rules) -> Result<BpfProgram> {
    compiled(rules, SeccompAction::Errno(errno(libc::ENOSYS)), SeccompAction::Allow)
}

fn denying(rules: Rules, action: SeccompAction) -> Result<BpfProgram> {
    compiled(rules, SeccompAction::Allow, action)
}

fn compiled(rules: Rules, otherwise: SeccompAction, then: SeccompAction) -> Result<BpfProgram> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, then, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_allowed_and_forbidden() {
        let allowed = plain(&[ORDINARY, ORDINARY_OF_ARCH, KEEPER, KEEPER_OF_ARCH]);
        for call in INTERNALS.iter().chain(INTERNALS_OF_ARCH).chain(&[libc::SYS_execve, libc::SYS_execveat]) {
            assert!(!allowed.contains_key(call), "{call}");
        }
        for call in limited_by_argument().unwrap().keys().chain(sockets_and_threads().unwrap().keys()) {
            assert!(!allowed.contains_key(call), "{call} is allowed with any arguments");
        }
    }

    #[test]
    fn every_set_has_its_filters() {
        for calls in [Calls::Keeper, Calls::Keys, Calls::Git] {
            assert_eq!(filters(calls).unwrap().len(), 2);
        }
    }
}
