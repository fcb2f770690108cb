//! The folders of all bottles.

use super::claim::{id, is_anothers};
use super::files::passable_dir;
use super::folder::{COPIES, Folder};
use crate::failure::{Failure, Kind, Outcome};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const TRUSTED: &str = ".trusted";
const VERSIONS: &str = ".versions";
const TRASH: &str = ".trash";
const IMAGES: &str = ".images";
const CACHE: &str = ".cache";
const SETUPS: &str = ".setups";
const LOGINS: &str = ".logins";
const POOL: &str = ".pool";
/// The folder that holds the runtime folders of root's bottles.
const FOR_ROOT: &str = "/var/lib/bottle";

/// The folder that `--state-dir` named. It is set once, before anything looks for a folder.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// The folders of all bottles of this user.
#[derive(Clone, Debug)]
pub struct Home {
    state: PathBuf,
    runtime: PathBuf,
    cache: PathBuf,
}

/// Keeps everything below this folder from now on, whatever the environment says: state, runtime folders, the cache,
/// and smolvm's own state. The first call counts. The folder is made if it is missing.
///
/// # Errors
/// Returns [`Kind::Unavailable`] if it cannot be made, or is not this user's alone to write to: in a folder like
/// `/tmp`, somebody else may have made it first.
pub fn choose(folder: &Path) -> Outcome {
    let cannot = |what: String| {
        Failure::new(Kind::Unavailable, format!("--state-dir {}: {what}", Line(&folder.to_string_lossy())))
            .help("name a folder of your own on this machine, or one that can be made")
    };
    let folder = std::path::absolute(folder).map_err(|error| cannot(error.to_string()))?;
    // A machine's process passes through it as another user, if root starts it.
    passable_dir(&folder).map_err(|error| cannot(error.to_string()))?;
    let meta = fs::metadata(&folder).map_err(|error| cannot(error.to_string()))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(cannot(format!("it belongs to user {}", meta.uid())));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(cannot(format!("others can write to it (mode {:o})", meta.mode() & 0o7777)));
    }
    let _ = CHOSEN.set(folder);
    Ok(())
}

/// Returns the folder that was chosen, if one was.
pub fn chosen() -> Option<&'static Path> {
    CHOSEN.get().map(PathBuf::as_path)
}

impl Home {
    /// Finds the folders. If one folder was [chosen](choose) for all of them, they are below it. Otherwise the state
    /// folder is where `BOTTLE_STATE_DIR` says, or where the XDG base directory
    /// specification puts it. The runtime folder is where `BOTTLE_RUNTIME_DIR` says, or beside the state
    /// folder. For root it is in `/var/lib/bottle`, one per state folder, because root's home is closed to
    /// the users that smolvm creates. It is not in `/run`, because smolvm mounts nothing from there. The cache
    /// is where `BOTTLE_CACHE_DIR` says, or where the specification puts it.
    ///
    /// # Errors
    /// Returns an error if there is no home folder to keep state in.
    pub fn find() -> Outcome<Self> {
        if let Some(all) = chosen() {
            let [state, runtime, cache] = ["state", "run", "cache"].map(|name| all.join(name));
            return Ok(Self { state, runtime, cache });
        }
        // XDG's variables do not count if they are relative, as that specification says. Ours would be meant.
        for name in ["BOTTLE_STATE_DIR", "BOTTLE_RUNTIME_DIR", "BOTTLE_CACHE_DIR"] {
            let is_relative = |text: OsString| !text.is_empty() && Path::new(&text).is_relative();
            if env::var_os(name).is_some_and(is_relative) {
                return Err(Failure::new(Kind::Usage, format!("{name} is not an absolute path"))
                    .help("begin it with /, or leave it out"));
            }
        }
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("BOTTLE_STATE_DIR")
            .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("bottle")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".local/state/bottle")))
            .ok_or_else(|| {
                Failure::new(Kind::Unavailable, "there is no home folder to keep state in")
                    .help("set HOME, XDG_STATE_HOME or BOTTLE_STATE_DIR to an absolute path")
            })?;
        let runtime = absolute("BOTTLE_RUNTIME_DIR")
            .or_else(|| rustix::process::geteuid().is_root().then(|| Path::new(FOR_ROOT).join(id(&state))))
            .unwrap_or_else(|| state.join(".run"));
        let cache = absolute("BOTTLE_CACHE_DIR")
            .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("bottle")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/bottle")))
            .unwrap_or_else(|| state.join(CACHE));
        Ok(Self { state, runtime, cache })
    }

    /// Uses these folders, and a cache in the first.
    pub fn at(state: PathBuf, runtime: PathBuf) -> Self {
        let cache = state.join(CACHE);
        Self { state, runtime, cache }
    }

    /// Returns a word that tells this state folder apart from others. Machines carry the word as a label.
    pub fn id(&self) -> String {
        id(&self.state)
    }

    /// Returns the folder with the bottles' state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the path of the folder that keeps removed copies with work in them for a while.
    pub fn trash(&self) -> PathBuf {
        self.runtime.join(TRASH)
    }

    /// Returns the path of the records of folders that guests could write to, and of configurations that a
    /// person accepted.
    pub fn trusted(&self) -> PathBuf {
        self.state.join(TRUSTED)
    }

    /// Returns the path of the folder that holds the copies of projects that guests work on.
    pub fn copies(&self) -> PathBuf {
        self.runtime.join(COPIES)
    }

    /// Returns the path of the folder that holds the records of the pool's machines.
    pub fn pool_records(&self) -> PathBuf {
        self.state.join(POOL)
    }

    /// Returns the path of the folder that holds what the pool's machines reach.
    pub fn pool_folders(&self) -> PathBuf {
        self.runtime.join(POOL)
    }

    /// Returns the path of the remembered program versions.
    pub fn versions(&self) -> PathBuf {
        self.state.join(VERSIONS)
    }

    /// Returns the path of the record of which image each reference means.
    pub fn image_pins(&self) -> PathBuf {
        self.state.join(IMAGES)
    }

    /// Returns the path of the record of which image each setup made.
    pub fn image_setups(&self) -> PathBuf {
        self.state.join(SETUPS)
    }

    /// Returns the path of the folder that holds the logins that `bottle login` took over.
    pub fn logins(&self) -> PathBuf {
        self.state.join(LOGINS)
    }

    /// Returns the path of the folder that holds what was fetched of images.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// Returns the folders that hold everything of bottle's own.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        [&self.state, &self.runtime, &self.cache].into_iter().map(PathBuf::as_path)
    }

    /// Returns the folders of one bottle. They do not have to exist.
    pub fn bottle(&self, slug: &Slug) -> Folder {
        Folder::at(slug, &self.state, &self.runtime)
    }

    /// Lists every bottle that has a folder, by name.
    pub fn bottles(&self) -> Result<Vec<Folder>> {
        let mut slugs: Vec<Slug> = Vec::new();
        let runtime = (!is_anothers(&self.runtime, &self.state)).then_some(&self.runtime);
        for root in [Some(&self.state), runtime].into_iter().flatten() {
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
