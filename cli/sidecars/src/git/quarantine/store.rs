//! The quarantine on disk: its settings, hooks and size.

use super::{OURS, Quarantine, SEEN};
use crate::git::child::Limits;
use crate::git::confine::hooks;
use anyhow::{Context, Result, ensure};
use bottle_core::specification::Repo;
use bottle_host::defence::Defence;
use bottle_host::state::{private_dir, remove_dir, write_private};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// The hooks that git runs for every push. Their environment names the bottle and the repository.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// The file with the size of the packs at the bottle's start.
const SIZE: &str = "bottle-size";

/// The least number of bytes that pushes may add before the bottle must be restarted.
const MIN_ROOM: u64 = 1 << 30;

/// How many pack files are kept before they are combined. Each accepted push adds three.
const MAX_PACK_FILES: usize = 60;

impl Quarantine {
    /// Creates the repository, or checks that it has this object format.
    pub(super) fn make(&self, format: &str, repo: &Repo) -> Result<()> {
        if self.dir.join("HEAD").exists() {
            let has = self.git().args(["rev-parse", "--show-object-format"]).text()?;
            if has == format {
                return self.configure(repo);
            }
            ensure!(
                self.refs(SEEN)?.is_empty() && self.refs(OURS)?.is_empty(),
                "its objects are {format} now, and its quarantine's are {has}: `bottle rm` removes the quarantine"
            );
            // It never contained anything.
            remove_dir(&self.dir)?;
        }
        private_dir(&self.dir)?;
        let init = ["init", "--quiet", "--bare", "--template=", "--object-format"];
        self.git().args(init).args([format]).run()?;
        self.configure(repo)
    }

    pub(super) fn configure(&self, repo: &Repo) -> Result<()> {
        let hooks = hooks(&self.dir);
        private_dir(&hooks)?;
        for hook in HOOKS {
            let path = hooks.join(hook);
            fs::write(&path, format!("#!/bin/sh\nexec \"$BOTTLE_EXE\" git-hook {hook}\n"))?;
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        }
        let yes_or_no = |yes: bool| if yes { "true" } else { "false" };
        let rewritten = yes_or_no(!repo.policy.force);
        for (key, value) in [
            ("core.hooksPath", hooks.to_str().with_context(|| format!("{} is not UTF-8", hooks.display()))?),
            ("http.receivepack", "true"),
            ("receive.maxInputSize", &format!("{}m", repo.policy.max_mib)),
            ("receive.fsckObjects", "true"),
            // A second wall, in case the policy fails.
            ("receive.denyDeletes", rewritten),
            ("receive.denyNonFastForwards", rewritten),
            ("receive.denyDeleteCurrent", "refuse"),
            ("receive.advertisePushOptions", "false"),
            ("transfer.hideRefs", "refs/bottle"),
        ] {
            self.git().args(["config", key, value]).run()?;
        }
        Ok(())
    }

    /// Removes what killed pushes left behind, combines packs if there are many, and records their size. No
    /// push runs at the same time, because the door is not open yet.
    pub(super) fn tidy(&self) -> Result<()> {
        let objects = self.dir.join("objects");
        for entry in fs::read_dir(&objects)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("tmp_objdir") || name.starts_with("incoming-") {
                remove_dir(&entry.path())?;
            }
        }
        let packs = fs::read_dir(objects.join("pack"))?.flatten().map(|entry| entry.file_name());
        let (left, packs): (Vec<_>, Vec<_>) =
            packs.partition(|name| name.to_string_lossy().starts_with("tmp_"));
        for name in left {
            fs::remove_file(objects.join("pack").join(name))?;
        }
        if packs.len() > MAX_PACK_FILES {
            self.git().limits(Limits::READ).args(["repack", "-a", "-d", "-q"]).run()?;
        }
        write_private(&self.dir.join(SIZE), self.size()?.to_string().as_bytes())
    }

    /// Returns whether the quarantine has once been brought up to date completely. One that has not been was
    /// never served.
    pub fn is_complete(&self) -> bool {
        self.dir.join(SIZE).exists()
    }

    fn size(&self) -> Result<u64> {
        let packs = fs::read_dir(self.dir.join("objects/pack"))?.flatten();
        Ok(packs.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum())
    }

    /// Returns whether pushes have used up the space that they may add after the bottle's start.
    ///
    /// # Errors
    /// Returns an error if the quarantine cannot be read.
    pub fn is_full(&self, repo: &Repo) -> Result<bool> {
        let before: u64 = fs::read_to_string(self.dir.join(SIZE))?.trim().parse()?;
        let room = MIN_ROOM.max(8 * (u64::from(repo.policy.max_mib) << 20));
        Ok(self.size()? > before + room && Defence::GitLimits.stands())
    }
}
