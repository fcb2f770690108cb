//! The two ways to run gvproxy: with and without a jail.

use super::running::Running;
use anyhow::Result;
use bottle_core::plan::Plan;
use bottle_host::state::Folder;
use bottle_host::tools::{Gvproxy, Network};
use std::fs::File;
use std::path::PathBuf;

/// A way to run gvproxy.
pub trait Wall {
    /// Whether gvproxy's network contains nothing but the doors.
    const JAILED: bool;

    /// Returns the path at which gvproxy creates its end of the link.
    fn link(folder: &Folder) -> PathBuf;

    /// Starts gvproxy.
    ///
    /// # Errors
    /// Returns an error if it is not ready within 20 s. The keeper's log has the details.
    fn start(found: &Gvproxy, network: &Network, folder: &Folder, plan: &Plan, log: &File)
    -> Result<Running>;
}
