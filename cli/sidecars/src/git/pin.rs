//! The record of what was known about a repository before a guest could write to it.
//!
//! The repository itself says where its upstream is and what the upstream has: in `remote.*.url` and in its
//! branches. In a folder that is mounted writable, the guest can change both. So they are recorded when the
//! first bottle with the repository starts, outside every mount and beside the bottles. The record outlives
//! `bottle rm`, and takes precedence from then on. A person changes it by naming the upstream in
//! `bottle.toml`, or by approving the commits that the repository has.

use anyhow::{Context, Result};
use bottle_core::git::name::ObjectId;
use bottle_core::specification::Repo;
use bottle_host::defence::Defence;
use bottle_host::provenance::walk::walk;
use bottle_host::provenance::writable::WritablePaths;
use bottle_host::state::{Folder, Home, private_dir, write_private};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The folder of the records, beside the bottles. Its name is not a slug, so it cannot be a bottle's folder.
const RECORDS: &str = ".upstreams";

/// The record of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The repository.
    path: PathBuf,
    /// Whether a guest could have written to it since the record was made.
    pub exposed: bool,
    /// The URLs of the remotes, by name.
    pub(super) remotes: BTreeMap<String, String>,
    /// The upstream's branches and tags, by name without `refs/`.
    pub refs: BTreeMap<String, ObjectId>,
}

impl Pin {
    /// Reads the record of a repository, which is empty if there is none yet.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn read(folder: &Folder, path: &Path) -> Result<Self> {
        let file = record_path(folder, path)?;
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Saves the record.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write(&mut self, folder: &Folder, repo: &Repo) -> Result<()> {
        self.exposed |= repo.writable;
        if let Some(url) = &repo.url {
            self.remotes.insert(repo.upstream.clone(), url.clone());
        }
        let file = record_path(folder, Path::new(&repo.path))?;
        private_dir(file.parent().context("the record has no parent folder")?)?;
        write_private(&file, &serde_json::to_vec_pretty(self)?)
    }
}

fn record_path(folder: &Folder, path: &Path) -> Result<PathBuf> {
    let digest: String = Sha256::digest(path.as_os_str().as_encoded_bytes())
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect();
    let above = folder.state().parent().context("the state folder has no parent folder")?;
    Ok(above.join(RECORDS).join(format!("{digest}.json")))
}

/// Returns the paths that guests could write to so far, or none if the defence is off.
pub(super) fn recorded_writable(folder: &Folder) -> Result<WritablePaths> {
    if !Defence::GitUpstream.stands() {
        return Ok(WritablePaths::default());
    }
    let [(_, state), (_, runtime)] = folder.environment();
    WritablePaths::read(&Home::at(state, runtime))
}

/// Returns whether a guest could write to a folder, or to something in it, in the past.
pub(super) fn was_writable_by_guest(recorded: &WritablePaths, path: &Path) -> bool {
    let path = real(path);
    let within = walk(&path).is_ok_and(|walk| recorded.around(&walk).is_some());
    within || recorded.shared().any(|shared| shared.path.starts_with(&path))
}

/// Returns whether a guest of any bottle can write to a folder now, or could in the past.
///
/// # Errors
/// Returns an error if the bottles cannot be read.
pub fn is_writable_by_guest(folder: &Folder, path: &Path) -> Result<bool> {
    let [(_, state), (_, runtime)] = folder.environment();
    if was_writable_by_guest(&recorded_writable(folder)?, path) {
        return Ok(true);
    }
    let path = real(path);
    let bottles = Home::at(state, runtime).bottles()?;
    Ok(bottles.iter().filter_map(|bottle| bottle.read_plan().ok()).any(|plan| {
        let hosts = plan.guest.volumes.iter().filter(|volume| volume.writable);
        hosts.map(|volume| Path::new(volume.host.as_str())).any(|host| overlap(host, &path))
    }))
}

/// Returns the path with links and dots resolved, as far as it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.components().next_back()) {
        (Ok(real), _, _) => real,
        (Err(_), Some(above), Some(Component::Normal(name))) => real(above).join(name),
        (Err(_), Some(above), Some(Component::ParentDir)) => {
            let above = real(above);
            above.parent().map_or(above.clone(), Path::to_owned)
        }
        _ => path.to_owned(),
    }
}

/// Returns whether two folders are the same, or one contains the other.
pub(super) fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
