//! How gvproxy is run.

use super::running::Running;
use anyhow::Result;
use bottle_core::plan::Plan;
use bottle_host::state::Folder;
use bottle_host::tools::{Gvproxy, Network};
use std::fs::File;
use std::path::PathBuf;

/// How gvproxy is run.
pub trait Wall {
    /// Whether it finds nothing on its network but the doors.
    const JAILED: bool;

    /// Where gvproxy is told to make its end of the link.
    fn link(folder: &Folder) -> PathBuf;

    /// Starts it.
    ///
    /// # Errors
    /// Where it does not come up within 20 s; its last words are in the log.
    fn start(found: &Gvproxy, network: &Network, folder: &Folder, plan: &Plan, log: &File)
    -> Result<Running>;
}
