//! The folders of one bottle.

use super::claim::{claim, id};
use super::files::{private_dir, remove_dir, remove_file, remove_tree, write_private};
use crate::fail_point::{self, FailPoint};
use crate::failure::Outcome;
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What holds the copies of projects. It is no slug, so it is no bottle's folder.
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

    /// The bottle's name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The resolved plan.
    pub fn plan(&self) -> PathBuf {
        self.state.join("plan.json")
    }

    /// The project that the bottle was made for.
    pub fn owner_record(&self) -> PathBuf {
        self.state.join("owner.json")
    }

    /// The host paths that the bottle was last started with, and which files and folders they were.
    pub fn pins(&self) -> PathBuf {
        self.state.join("pins.json")
    }

    /// An empty folder, for programs of this machine that must not be started in a folder of a
    /// guest's.
    pub fn nowhere(&self) -> PathBuf {
        self.state.join("nowhere")
    }

    /// What the keeper does besides carrying frames.
    pub fn services(&self) -> PathBuf {
        self.state.join("services.json")
    }

    /// What a person changed in the rules.
    pub fn rules(&self) -> PathBuf {
        self.state.join("rules.json")
    }

    /// The rendered Smolfile.
    pub fn smolfile(&self) -> PathBuf {
        self.state.join("smolfile.toml")
    }

    /// The Smolfile that the machine was made with, or last made to follow.
    pub fn machine_smolfile(&self) -> PathBuf {
        self.state.join("machine.toml")
    }

    /// The rendered gvproxy configuration, inside the one folder that the jail sees.
    pub fn gvproxy(&self) -> PathBuf {
        self.jail().join("gvproxy.yaml")
    }

    /// The one folder that the jail sees.
    pub fn jail(&self) -> PathBuf {
        self.state.join("jail")
    }

    /// The one folder that the keeper writes to once it is confined.
    pub fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// The decisions of the bottle's parts.
    pub fn audit(&self) -> PathBuf {
        self.logs().join("audit.jsonl")
    }

    /// What an operator decided.
    pub fn decisions(&self) -> PathBuf {
        self.logs().join("decisions.jsonl")
    }

    /// The last number of what an agent asked for.
    pub fn inbox(&self) -> PathBuf {
        self.logs().join("inbox.json")
    }

    /// What the keeper and its children print.
    pub fn keeper_log(&self) -> PathBuf {
        self.state.join("keeper.log")
    }

    /// The rendered configuration of a pipelock that is a command.
    pub fn pipelock(&self) -> PathBuf {
        self.state.join("pipelock.yaml")
    }

    /// The quarantine repositories of git-gate.
    pub fn git(&self) -> PathBuf {
        self.state.join("git")
    }

    /// What git prints for git-gate.
    pub fn git_log(&self) -> PathBuf {
        self.logs().join("git.log")
    }

    /// The variables with which [`Home::find`] finds this bottle's folders, whoever asks.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let above = |path: &Path| path.parent().unwrap_or(path).to_owned();
        [("BOTTLE_STATE_DIR", above(&self.state)), ("BOTTLE_RUNTIME_DIR", above(&self.runtime))]
    }

    /// What a sidecar prints that the keeper started.
    pub fn sidecar_log(&self, sidecar: Sidecar) -> PathBuf {
        self.logs().join(format!("{sidecar}.log"))
    }

    /// The guest's own copy of the project. Beside the runtime folder, not in it: it outlives a stop.
    pub fn copy(&self) -> PathBuf {
        self.runtime.with_file_name(COPIES).join(self.slug.as_str())
    }

    /// A word that tells the state folder of this bottle apart from others. Its machine carries it.
    pub fn state_id(&self) -> String {
        id(self.state.parent().unwrap_or(&self.state))
    }

    /// What was copied, and from where.
    pub fn copy_record(&self) -> PathBuf {
        self.state.join("copy.json")
    }

    /// Where the keeper takes requests from its user.
    pub fn control(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// The socket that smolvm mounts into the guest.
    pub fn guest_socket(&self) -> PathBuf {
        self.runtime.join("guest.sock")
    }

    /// The folder that the guest sees the helper in.
    pub fn helper_dir(&self) -> PathBuf {
        self.runtime.join("guest")
    }

    /// Where the bottle's state is.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether there is anything of this bottle on disk.
    pub fn exists(&self) -> bool {
        self.state.exists() || self.runtime.exists() || self.copy().exists()
    }

    /// Makes the folders.
    pub fn create(&self) -> Outcome {
        private_dir(&self.state)?;
        private_dir(&self.jail())?;
        private_dir(&self.logs())?;
        // Passable and not readable: the virtual machine's process has to reach what is inside.
        let root = self.runtime.parent().unwrap_or(&self.runtime);
        for dir in [root, &self.runtime, &self.helper_dir()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(dir)
                .with_context(|| dir.display().to_string())?;
            fs::set_permissions(dir, Permissions::from_mode(0o711))
                .with_context(|| dir.display().to_string())?;
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

    /// Removes the guest's copy of the project, with what it changed in it.
    pub fn remove_copy(&self) -> Result<()> {
        remove_tree(&self.copy())?;
        remove_file(&self.copy_record())
    }

    /// Removes what only a running bottle has.
    pub fn remove_runtime(&self) -> Result<()> {
        remove_dir(&self.runtime)
    }

    /// Writes the plan. It is there whole or not at all.
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        write_private(&self.plan(), serde_json::to_string_pretty(plan)?.as_bytes())
    }

    /// Reads the plan that the bottle was last started with.
    pub fn read_plan(&self) -> Result<Plan> {
        let path = self.plan();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }
}
