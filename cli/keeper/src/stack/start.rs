//! Starts the stack of a plan.

use super::bare::Bare;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
use super::jail::Jail;
use super::running::Running;
use super::wall::Wall;
use anyhow::{Result, bail};
use bottle_core::plan::Plan;
use bottle_host::defence::Defence;
use bottle_host::state::Folder;
use bottle_host::tools::{Network, StackBackend};
use std::fs::File;

/// How gvproxy runs on this system.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub type Here = Jail;
/// How gvproxy runs on this system.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub type Here = Bare;

/// Starts the stack of a plan, in the way that this system supports.
///
/// # Errors
/// Returns an error if it is not ready within 20 s. The keeper's log has the details.
pub fn start(network: &Network, folder: &Folder, plan: &Plan, log: &File) -> Result<Running> {
    match &network.backend {
        // Without the second wall, the guard stands alone, as on other systems.
        StackBackend::Gvproxy(found) if !Defence::Jail.stands() => {
            Bare::start(found, network, folder, plan, log)
        }
        StackBackend::Gvproxy(found) => Here::start(found, network, folder, plan, log),
        StackBackend::Sockets => bail!("the guest's own kernel is the stack, so none is started here"),
    }
}
