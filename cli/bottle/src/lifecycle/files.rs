//! The files that a bottle starts from.

use crate::agent::Equipment;
use crate::config::Config;
use crate::resolve::Resolved;
use anyhow::{Context, Result, anyhow};
use bottle_core::gvproxy;
use bottle_core::pipelock::Pipelock;
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::SidecarForm;
use bottle_core::stack::Stack;
use bottle_core::text::MountPath;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::Outcome;
use bottle_host::services;
use bottle_host::state::{Folder, remove_dir, write_private};
use bottle_host::tools::Network;
use bottle_host::workspace::Copy;
use bottle_keeper::stack::{Here, Wall};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A bottle's files, rendered but not written.
pub struct Rendered {
    /// The file that smolvm reads.
    pub smolfile: String,
    /// The file that gvproxy reads, if it is the network stack.
    pub gvproxy: Option<String>,
    /// What the agent finds beside the helper.
    pub equipment: Equipment,
}

/// The files that a bottle starts from, on disk. Dropping this value removes them, unless they are kept.
pub struct Files(Option<Folder>);

impl Files {
    /// Returns the files of this bottle, written or not.
    pub fn of(folder: &Folder) -> Self {
        Self(Some(folder.clone()))
    }

    /// Leaves them where they are.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let Some(folder) = self.0.take() else { return };
        // The log stays, for a person to look at afterwards.
        let _ = folder.remove_runtime();
        for file in [
            folder.plan(),
            folder.pins(),
            folder.rules(),
            folder.smolfile(),
            folder.machine_smolfile(),
            folder.set_up(),
        ] {
            let _ = fs::remove_file(file);
        }
        // A push may wait, and whoever looks at it has to know where it goes.
        if !folder.git().exists() {
            let _ = fs::remove_file(folder.services());
        }
        let _ = remove_dir(&folder.jail());
    }
}

/// Returns the Smolfile of a plan. smolvm is given an image's archive, so that it fetches nothing.
pub fn smolfile(folder: &Folder, resolved: &Resolved) -> Result<Smolfile> {
    let helper_dir: MountPath = folder
        .helper_dir()
        .to_str()
        .ok_or_else(|| anyhow!("the runtime folder's path is not UTF-8"))?
        .parse()
        .context("the runtime folder's path")?;
    let mut smolfile = Smolfile::for_plan(&resolved.plan, &helper_dir);
    if let Some((_, archive)) = resolved.boots_from() {
        smolfile.image = Some(archive.to_str().context("the cache folder's path is not UTF-8")?.to_owned());
    }
    Ok(smolfile)
}

/// Renders the files that smolvm, gvproxy and the agent read, and writes nothing.
pub fn render(folder: &Folder, resolved: &Resolved, config: &Config) -> Outcome<Rendered> {
    let plan = &resolved.plan;
    let gvproxy = match plan.stack {
        Stack::Gvproxy(_) => {
            let link = Here::link(folder);
            let link = link.to_str().context("the state folder's path is not UTF-8")?;
            Some(gvproxy::Config::for_plan(plan, link).render().map_err(anyhow::Error::from)?)
        }
        Stack::Sockets => None,
    };
    let smolfile = smolfile(folder, resolved)?.render().map_err(anyhow::Error::from)?;
    let equipment = Equipment::of(resolved, config)?;
    Ok(Rendered { smolfile, gvproxy, equipment })
}

/// Writes everything that a bottle starts from.
pub fn write(
    folder: &Folder,
    project: &Path,
    resolved: &Resolved,
    rendered: &Rendered,
    network: &Network,
) -> Outcome {
    folder.create()?;
    let write = || -> Result<()> {
        folder.belong_to(project)?;
        fail_point::reached(FailPoint::Folders);
        folder.write_plan(&resolved.plan)?;
        fail_point::reached(FailPoint::Plan);
        services::write(&resolved.services, folder)?;
        fail_point::reached(FailPoint::Services);
        write_private(&folder.smolfile(), rendered.smolfile.as_bytes())?;
        fail_point::reached(FailPoint::Smolfile);
        match &rendered.gvproxy {
            Some(text) => write_private(&folder.gvproxy(), text.as_bytes())?,
            None => _ = fs::remove_file(folder.gvproxy()),
        }
        fail_point::reached(FailPoint::Gvproxy);
        if matches!(resolved.services.form(Sidecar::Pipelock), SidecarForm::Command { .. }) {
            let (pipelock, left_out) =
                Pipelock::for_rules(&resolved.plan.egress, resolved.plan.doors.pipelock());
            write_private(&folder.pipelock(), pipelock.render(&left_out)?.as_bytes())?;
        }
        if let Some((project, exclude)) = &resolved.copied {
            Copy::make(folder, Path::new(project.as_str()), exclude)?;
            fail_point::reached(FailPoint::Copied);
        }
        install_helper(&folder.helper_dir(), &network.helper)?;
        rendered.equipment.write(&folder.helper_dir())?;
        fail_point::reached(FailPoint::Helper);
        Ok(())
    };
    Ok(write()?)
}

/// Copies the helper to where the machine's process can read it. The original may be in a folder that is
/// closed to that process.
///
/// # Errors
/// Returns an error if it cannot be copied.
pub fn install_helper(folder: &Path, helper: &Path) -> Result<()> {
    let place = folder.join("bottle-guest");
    let draft = place.with_extension("draft");
    fs::copy(helper, &draft).with_context(|| draft.display().to_string())?;
    fs::set_permissions(&draft, Permissions::from_mode(0o755))?;
    fs::rename(&draft, &place)?;
    // The folder is mounted into the guest, whose root can list it.
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o755))?)
}
