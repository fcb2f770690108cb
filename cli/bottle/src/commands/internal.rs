//! Becomes what another process of bottle's asked for.

use super::{publish, ssh, workload};
use crate::args::Internal;
use crate::job::heir;
use crate::pool::warmer;
use crate::trust::programs;
use bottle_core::specification::Published;
use bottle_host::failure::Outcome;
use bottle_host::notify;
use bottle_host::state::Home;
use bottle_keeper::{self as keeper, starter};
use bottle_sidecars::git::hook;
use bottle_sidecars::keys;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

/// Carries out an internal subcommand.
///
/// # Errors
/// Returns the failure to print, with its exit status.
pub fn dispatch(command: Internal) -> Outcome<ExitCode> {
    match command {
        Internal::GitHook { hook } => return hook::run(hook),
        Internal::Publisher { slug, guest, host } => publish::publisher(&slug, Published { guest, host })?,
        Internal::Keeper { slug, owner_fd, ready_fd, guest_fd, starter_fd, keys_fd, notifier_fd } => {
            let (owner, ready, guest) = (inherited(owner_fd)?, inherited(ready_fd)?, inherited(guest_fd)?);
            let home = Home::find()?;
            programs::leave_writable_folder(&home, &home.bottle(&slug))?;
            let helpers = match starter_fd {
                Some(starter) => Some(keeper::Helpers {
                    starter: inherited(starter)?,
                    keys: keys_fd.map(inherited).transpose()?,
                    notifier: notifier_fd.map(inherited).transpose()?,
                }),
                None => None,
            };
            keeper::main(keeper::Arguments { slug, owner, ready, guest }, helpers)?;
        }
        Internal::Heir { slug, fd, alone } => heir::main(&slug, inherited(fd)?, !alone)?,
        Internal::Starter { slug, fd } => starter::main(&slug, &inherited(fd)?)?,
        Internal::Notifier { slug, fd } => notify::serve(&slug, &inherited(fd)?)?,
        Internal::Recorder { slug, words } => workload::record(&slug, &words)?,
        Internal::SshProxy { slug } => ssh::proxy(&slug)?,
        Internal::Warmer => warmer::main()?,
        Internal::KeySource { slug, fd } => keys::source::main(&slug, &inherited(fd)?)?,
        Internal::Keys { slug, fd } => keys::main(&slug, inherited(fd)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes over a descriptor that was passed to this process alone. Its own children do not get it.
fn inherited(fd: i32) -> anyhow::Result<OwnedFd> {
    // SAFETY: the launcher opened the descriptor for this process, and nothing else here owns it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner until it is given one")]
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}
