//! Where a bottle's files are.
//!
//! Two folders per bottle. The state folder is private (0700, its files 0600): the plan, the
//! rendered files, the log, the locks. The runtime folder holds what the virtual machine's process
//! has to reach, which smolvm runs as a user of its own when it is started by root: the guest
//! socket and the helper.

use crate::failure::{Failure, Kind, Outcome};
use crate::step::{self, Step};
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What holds the copies of projects. It is no slug, so it is no bottle's folder.
const COPIES: &str = ".copies";
const TRUSTED: &str = ".trusted";
const VERSIONS: &str = ".versions";

/// The folders of every bottle of this user.
#[derive(Clone, Debug)]
pub struct Home {
    state: PathBuf,
    runtime: PathBuf,
}

/// The folders of one bottle.
#[derive(Clone, Debug)]
pub struct Folder {
    slug: Slug,
    state: PathBuf,
    runtime: PathBuf,
}

/// A lock that is held as long as the value lives, and by nobody after its process dies.
#[derive(Debug)]
pub struct Lock(File);

impl Home {
    /// State is where `BOTTLE_STATE_DIR` says, or where the XDG base directory specification puts
    /// it. The runtime folder is where `BOTTLE_RUNTIME_DIR` says, or beside the state; for root,
    /// whose home is closed to the users that smolvm makes, `/var/lib/bottle`. Not `/run`: smolvm
    /// mounts nothing from there.
    ///
    /// # Errors
    /// Where there is no home folder to put state into.
    pub fn find() -> Outcome<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("BOTTLE_STATE_DIR")
            .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("bottle")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".local/state/bottle")))
            .ok_or_else(|| {
                Failure::new(Kind::Unavailable, "there is no home folder to keep state in")
                    .help("set HOME, XDG_STATE_HOME or BOTTLE_STATE_DIR to an absolute path")
            })?;
        let runtime = absolute("BOTTLE_RUNTIME_DIR")
            .or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from("/var/lib/bottle")))
            .unwrap_or_else(|| state.join(".run"));
        Ok(Self { state, runtime })
    }

    /// Folders at these places.
    pub fn at(state: PathBuf, runtime: PathBuf) -> Self {
        Self { state, runtime }
    }

    /// Which folders guests could write, and which configurations a person has accepted.
    pub fn trusted(&self) -> PathBuf {
        self.state.join(TRUSTED)
    }

    /// What holds the copies of projects that guests work on.
    pub fn copies(&self) -> PathBuf {
        self.runtime.join(COPIES)
    }

    /// Takes the lock that keeps two commands from writing that at once.
    ///
    /// # Errors
    /// [`Kind::Busy`] where somebody else has had it for long.
    pub fn lock_trust(&self) -> Outcome<Lock> {
        private_dir(&self.trusted())?;
        let end = Instant::now() + LONGEST_TRUST;
        loop {
            if let Some(lock) = try_lock(&self.trusted().join("lock"))? {
                return Ok(lock);
            }
            if Instant::now() > end {
                return Err(Failure::new(
                    Kind::Busy,
                    "another command is starting a bottle, and does not end",
                )
                .help("`bottle ls` shows which"));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// What programs said of their versions.
    pub fn versions(&self) -> PathBuf {
        self.state.join(VERSIONS)
    }

    /// What holds the folders of all bottles.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        [&self.state, &self.runtime].into_iter().map(PathBuf::as_path)
    }

    /// The folders of one bottle, which need not exist.
    pub fn bottle(&self, slug: &Slug) -> Folder {
        Folder {
            slug: slug.clone(),
            state: self.state.join(slug.as_str()),
            runtime: self.runtime.join(slug.as_str()),
        }
    }

    /// Every bottle that has a folder, in the order of their names.
    pub fn bottles(&self) -> Result<Vec<Folder>> {
        let mut slugs: Vec<Slug> = Vec::new();
        for root in [&self.state, &self.runtime] {
            let entries = match fs::read_dir(root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| root.display().to_string()),
            };
            for entry in entries {
                if let Some(slug) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    slugs.push(slug);
                }
            }
        }
        slugs.sort();
        slugs.dedup();
        Ok(slugs.iter().map(|slug| self.bottle(slug)).collect())
    }
}

impl Folder {
    /// The bottle's name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The resolved plan.
    pub fn plan(&self) -> PathBuf {
        self.state.join("plan.json")
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
    pub fn create(&self) -> Result<()> {
        private_dir(&self.state)?;
        private_dir(&self.jail())?;
        private_dir(&self.logs())?;
        // Passable and not readable: the virtual machine's process has to reach what is inside.
        for dir in [self.runtime.parent().unwrap_or(&self.runtime), &self.runtime, &self.helper_dir()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(dir)
                .with_context(|| dir.display().to_string())?;
            fs::set_permissions(dir, Permissions::from_mode(0o711))?;
        }
        Ok(())
    }

    /// Removes everything of this bottle.
    pub fn remove(&self) -> Result<()> {
        self.remove_runtime()?;
        step::done(Step::RmRuntime);
        self.remove_copy()?;
        step::done(Step::RmCopy);
        remove_dir(&self.state)
    }

    /// Removes the guest's copy of the project, with what it changed in it.
    pub fn remove_copy(&self) -> Result<()> {
        crate::workspace::remove(&self.copy())?;
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

    /// Takes the lock that keeps two commands from changing one bottle at once. `what` is what the
    /// command is called, for whoever comes second.
    ///
    /// # Errors
    /// [`Kind::Busy`] where another command has it, with which.
    pub fn lock_operation(&self, what: &str) -> Outcome<Lock> {
        private_dir(&self.state)?;
        let Some(lock) = try_lock(&self.operation())? else {
            let holder = self.busy_with().unwrap_or_else(|| "another command".to_owned());
            return Err(Failure::new(Kind::Busy, format!("{holder} is changing {}", self.slug))
                .help("wait for it to end, and try again"));
        };
        lock.0
            .set_len(0)
            .and_then(|()| write!(&lock.0, "`bottle {what}` (process {})", std::process::id()))
            .context("the lock")?;
        Ok(lock)
    }

    /// The command that is changing this bottle now, if there is one.
    pub fn busy_with(&self) -> Option<String> {
        let path = self.operation();
        // Who has just got the lock may not have said so yet, and whoever had it before did.
        for _ in 0..GLANCES {
            if !(path.exists() && matches!(try_lock(&path), Ok(None))) {
                return None;
            }
            let holder = fs::read_to_string(&path).unwrap_or_default();
            if is_alive(&holder) {
                return Some(holder);
            }
            std::thread::sleep(GLANCE);
        }
        Some("another command".to_owned())
    }

    fn operation(&self) -> PathBuf {
        self.state.join("operation.lock")
    }

    /// Takes the lock that a living keeper has. `None` means that there is one.
    pub fn lock_keeper(&self) -> Result<Option<Lock>> {
        try_lock(&self.state.join("keeper.lock"))
    }

    /// Whether a keeper is alive.
    pub fn has_keeper(&self) -> bool {
        let path = self.state.join("keeper.lock");
        path.exists() && matches!(try_lock(&path), Ok(None))
    }
}

/// How often, and how far apart, a lock's holder is asked for its name.
const GLANCES: u32 = 10;
const GLANCE: Duration = Duration::from_millis(10);
/// How long another command may look at what is trusted. It takes milliseconds.
const LONGEST_TRUST: Duration = Duration::from_secs(30);

/// Whether a lock's holder, as it wrote itself down, is a process that lives.
fn is_alive(holder: &str) -> bool {
    let number = holder.rsplit("process ").next().and_then(|text| text.trim_end_matches(')').parse().ok());
    number.and_then(Pid::from_raw).is_some_and(|pid| match test_kill_process(pid) {
        // Somebody else's process is one, too.
        Ok(()) | Err(rustix::io::Errno::PERM) => true,
        Err(_) => false,
    })
}

/// Makes a folder that only its owner can look into.
pub fn private_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| path.display().to_string())
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, 0o600)
}

/// Writes a file that anybody may read, whole or not at all. A link in its place is replaced, and
/// never followed.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, 0o666)
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let draft = path.with_extension("draft");
    let write = || -> Result<()> {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(fs::rename(&draft, path)?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

/// Removes a folder, if it is there.
pub fn remove_dir(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path), path)
}

/// What was not there is gone, too.
fn gone(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
