//! What a keeper opens before it is confined.

use crate::launch::bind;
use anyhow::{Context, Result, anyhow};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::specification::Services;
use bottle_host::confine::{self, InForce, Policy};
use bottle_host::defence::Defence;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::state::{Folder, Home, Lock};
use bottle_sidecars::http::raise_descriptors;
use bottle_sidecars::tls::{self, TlsConnector};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A keeper that has opened what it needs, and given up its other rights. It has not read anything from a
/// guest yet.
pub struct Confined {
    pub folder: Folder,
    pub plan: Plan,
    pub services: Services,
    pub control: UnixListener,
    /// What this machine's certificates vouch for; none if it trusts none.
    pub tls: Option<TlsConnector>,
    pub in_force: InForce,
    pub lock: Lock,
}

impl Confined {
    pub fn begin(slug: &Slug) -> Result<Self> {
        raise_descriptors();
        let folder = Home::find()?.bottle(slug);
        let lock = folder
            .lock_keeper()?
            .ok_or_else(|| anyhow!("bottle {slug} already has a keeper: `bottle stop {slug}` ends it"))?;
        fail_point::reached(FailPoint::KeeperLocked);
        let (plan, services) = (folder.read_plan()?, bottle_host::services::read(&folder)?);
        let control = bind(&folder.control(), 0o600)?;
        fail_point::reached(FailPoint::KeeperControl);
        control.set_nonblocking(true)?;
        let is_root = rustix::process::geteuid().is_root();
        let runtime =
            folder.control().parent().map(Path::to_owned).context("the control socket has no folder")?;
        let tls = tls::connector().ok();
        let in_force = if Defence::KeeperConfined.stands() {
            confine::this_process(&Policy::keeper(&folder.logs(), &runtime, is_root))?
        } else {
            InForce::default()
        };
        Ok(Self { folder, plan, services, control, tls, in_force, lock })
    }
}
