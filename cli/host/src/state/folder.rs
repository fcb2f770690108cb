//! The folders of one bottle.

use super::claim::{claim, id};
use super::files::{
    parse_json, passable_dir, private_dir, remove_dir, remove_file, remove_tree, write_private,
};
use crate::fail_point::{self, FailPoint};
use crate::failure::Outcome;
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder that holds the copies of projects. Its name is not a slug, so it cannot be a bottle's folder.
pub(super) const COPIES: &str = ".copies";

/// The folders of one bottle.
#[derive(Clone, Debug)]
pub struct Folder {
    slug: Slug,
    state: PathBuf,
    runtime: PathBuf,
}

impl Folder {
    pub(super) fn at(slug: &Slug, state: &Path, runtime: &Path) -> Self {
        Self { slug: slug.clone(), state: state.join(slug.as_str()), runtime: runtime.join(slug.as_str()) }
    }

    /// Returns the bottle's name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Returns the path of the resolved plan.
    pub fn plan(&self) -> PathBuf {
        self.state.join("plan.json")
    }

    /// Returns the path of the record of the project that the bottle was made for.
    pub fn owner_record(&self) -> PathBuf {
        self.state.join("owner.json")
    }

    /// Returns the path of the record of the bottle's host paths at its last start, with the identity of each
    /// file and folder.
    pub fn pins(&self) -> PathBuf {
        self.state.join("pins.json")
    }

    /// Returns the path of the record of a run whose results are kept, for whoever finishes it if it is killed.
    pub fn run_record(&self) -> PathBuf {
        self.state.join("run.json")
    }

    /// Returns the path of an empty folder, for programs on this machine that must not start in a guest's
    /// folder.
    pub fn nowhere(&self) -> PathBuf {
        self.state.join("nowhere")
    }

    /// Returns the path of the list of services that the keeper offers besides forwarding frames.
    pub fn services(&self) -> PathBuf {
        self.state.join("services.json")
    }

    /// Returns the path of the changes that a person made to the rules.
    pub fn rules(&self) -> PathBuf {
        self.state.join("rules.json")
    }

    /// Returns the path of the rendered Smolfile.
    pub fn smolfile(&self) -> PathBuf {
        self.state.join("smolfile.toml")
    }

    /// Returns the path of the Smolfile that the machine was created with, or last changed to.
    pub fn machine_smolfile(&self) -> PathBuf {
        self.state.join("machine.toml")
    }

    /// Returns the path of the rendered gvproxy configuration. It is inside the only folder that the jail
    /// sees.
    pub fn gvproxy(&self) -> PathBuf {
        self.jail().join("gvproxy.yaml")
    }

    /// Returns the path of the only folder that the jail sees.
    pub fn jail(&self) -> PathBuf {
        self.state.join("jail")
    }

    /// Returns the path of the only folder that the keeper can write to once it is confined.
    pub fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Returns the path of the log of the decisions of the bottle's parts.
    pub fn audit(&self) -> PathBuf {
        self.logs().join("audit.jsonl")
    }

    /// Returns the path of the log of the operators' decisions.
    pub fn decisions(&self) -> PathBuf {
        self.logs().join("decisions.jsonl")
    }

    /// Returns the path of the file with the last number given to an agent's request.
    pub fn inbox(&self) -> PathBuf {
        self.logs().join("inbox.json")
    }

    /// Returns the path of the output of the keeper and its children.
    pub fn keeper_log(&self) -> PathBuf {
        self.state.join("keeper.log")
    }

    /// Returns the path of what the last detached command printed. The keeper cannot write there.
    pub fn workload_log(&self) -> PathBuf {
        self.state.join("workload.log")
    }

    /// Returns the path of the lock that is held while a detached command runs.
    pub fn workload_lock(&self) -> PathBuf {
        self.state.join("workload.lock")
    }

    /// Returns the path of the status of the last detached command.
    pub fn workload_status(&self) -> PathBuf {
        self.state.join("workload.status")
    }

    /// Returns the path of the folder with a record of each port that is published now.
    pub fn published(&self) -> PathBuf {
        self.state.join("published")
    }

    /// Returns the path of the folder with the keys of `bottle ssh-config`.
    pub fn ssh(&self) -> PathBuf {
        self.state.join("ssh")
    }

    /// Returns the path of the rendered configuration of an egress proxy that is a command.
    pub fn pipelock(&self) -> PathBuf {
        self.state.join("pipelock.yaml")
    }

    /// Returns the path of the quarantine repositories of git-gate.
    pub fn git(&self) -> PathBuf {
        self.state.join("git")
    }

    /// Returns the path of git's output for git-gate.
    pub fn git_log(&self) -> PathBuf {
        self.logs().join("git.log")
    }

    /// Returns the variables with which [`Home::find`] finds this bottle's folders, whichever process calls
    /// it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let above = |path: &Path| path.parent().unwrap_or(path).to_owned();
        [("BOTTLE_STATE_DIR", above(&self.state)), ("BOTTLE_RUNTIME_DIR", above(&self.runtime))]
    }

    /// Returns the path of the output of a sidecar that the keeper started.
    pub fn sidecar_log(&self, sidecar: Sidecar) -> PathBuf {
        self.logs().join(format!("{sidecar}.log"))
    }

    /// Returns the path of the guest's own copy of the project. It is beside the runtime folder and not in
    /// it, because it survives a stop.
    pub fn copy(&self) -> PathBuf {
        self.runtime.with_file_name(COPIES).join(self.slug.as_str())
    }

    /// Returns the path of a copy that is not complete yet. It gets its name once there is a record of it.
    pub fn copy_draft(&self) -> PathBuf {
        self.copy().with_extension("draft")
    }

    /// Returns a word that tells this bottle's state folder apart from others. Its machine carries the word
    /// as a label.
    pub fn state_id(&self) -> String {
        id(self.state.parent().unwrap_or(&self.state))
    }

    /// Returns the path of the record of what was copied, and from where.
    pub fn copy_record(&self) -> PathBuf {
        self.state.join("copy.json")
    }

    /// Returns the path of the notes that tell which files of the copy are as they were copied.
    pub fn copy_stamps(&self) -> PathBuf {
        self.state.join("stamps")
    }

    /// Returns the path of the record of the setup that the machine's disk holds.
    pub fn set_up(&self) -> PathBuf {
        self.state.join("set-up")
    }

    /// Returns the path of the lock of whoever carries out that setup.
    pub fn set_up_lock(&self) -> PathBuf {
        self.state.join("set-up.lock")
    }

    /// Returns the path of the mark of a bottle that `bottle fork` has not finished.
    pub fn unfinished(&self) -> PathBuf {
        self.state.join("unfinished")
    }

    /// Returns the path of the socket on which the keeper takes requests from its user.
    pub fn control(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Returns the path of the socket that smolvm mounts into the guest.
    pub fn guest_socket(&self) -> PathBuf {
        self.runtime.join("guest.sock")
    }

    /// Returns the path of the folder in which the guest sees the helper.
    pub fn helper_dir(&self) -> PathBuf {
        self.runtime.join("guest")
    }

    /// Returns the state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Returns whether there is more than a log: a disk, a copy, pushes, or a keeper.
    pub fn holds_work(&self) -> bool {
        self.machine_smolfile().exists()
            || self.copy().exists()
            || self.git().exists()
            || self.control().exists()
    }

    /// Returns whether anything of this bottle is on disk.
    pub fn exists(&self) -> bool {
        self.state.exists() || self.runtime.exists() || self.copy().exists()
    }

    /// Creates the folders.
    pub fn create(&self) -> Outcome {
        private_dir(&self.state)?;
        private_dir(&self.jail())?;
        private_dir(&self.logs())?;
        // Others may pass through but not list it: the virtual machine's process must reach what is inside.
        let root = self.runtime.parent().unwrap_or(&self.runtime);
        for dir in [root, &self.runtime, &self.helper_dir()] {
            let made =
                passable_dir(dir).and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o711)));
            made.with_context(|| dir.display().to_string())?;
        }
        claim(root, self.state.parent().unwrap_or(&self.state))
    }

    /// Removes everything of this bottle.
    pub fn remove(&self) -> Result<()> {
        self.remove_runtime()?;
        fail_point::reached(FailPoint::RmRuntime);
        self.remove_copy()?;
        fail_point::reached(FailPoint::RmCopy);
        remove_dir(&self.state)
    }

    /// Gives a complete copy, of which there is a record, its name.
    pub fn name_copy(&self) -> Result<()> {
        let draft = self.copy_draft();
        fs::rename(&draft, self.copy()).with_context(|| draft.display().to_string())
    }

    /// Removes the guest's copy of the project, with the guest's changes.
    pub fn remove_copy(&self) -> Result<()> {
        remove_tree(&self.copy_draft())?;
        remove_tree(&self.copy())?;
        remove_file(&self.copy_stamps())?;
        remove_file(&self.copy_record())
    }

    /// Removes what only a running bottle needs.
    pub fn remove_runtime(&self) -> Result<()> {
        remove_dir(&self.runtime)
    }

    /// Writes the plan, whole or not at all.
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        write_private(&self.plan(), serde_json::to_string_pretty(plan)?.as_bytes())
    }

    /// Reads the plan of the bottle's last start.
    pub fn read_plan(&self) -> Result<Plan> {
        let path = self.plan();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        parse_json(&path, &text)
    }
}
