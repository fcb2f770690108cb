//! The record of what was known about a repository before a guest could write to it.
//!
//! The repository itself says where its upstream is and what the upstream has: in `remote.*.url`
//! and in its branches. In a folder that is mounted writable, the guest can change both. So they
//! are recorded here when the first bottle starts with the repository, outside every mount and
//! beside the bottles. The record outlives `bottle rm`, and from then on it counts. A person
//! changes it by naming the upstream in `bottle.toml`, and by approving what the repository has.

use super::child::Git;
use super::source::Source;
use anyhow::{Context, Result};
use bottle_core::git::name::ObjectId;
use bottle_core::git::url;
use bottle_core::plan::Volume;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::provenance::walk::walk;
use bottle_host::provenance::writable::WritablePaths;
use bottle_host::state::{Folder, Home, private_dir, write_private};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The folder of the records, beside the bottles. It is not a slug, so no bottle can have this
/// folder.
const RECORDS: &str = ".upstreams";

/// The record of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The repository.
    path: PathBuf,
    /// Whether a guest could write to it since the record was made.
    pub exposed: bool,
    /// The remotes' locations, by name.
    remotes: BTreeMap<String, String>,
    /// The upstream's branches and tags, by name without `refs/`.
    pub refs: BTreeMap<String, ObjectId>,
}

impl Pin {
    /// Reads the record of a repository. It is empty if there is none.
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

/// Finds a repository's upstream, and whether a guest with these volumes could write to the
/// repository.
///
/// # Errors
/// Returns [`Kind::Usage`] if the upstream itself is in such a folder: git would run its hooks
/// here.
pub fn resolve(repo: &Repo, folder: &Folder, volumes: &[Volume]) -> Outcome<Repo> {
    let mut repo = repo.clone();
    // This also holds if a person insists on sharing it: the guest could change what is being
    // judged.
    let store = real(&folder.git());
    if let Some(volume) = volumes.iter().find(|volume| overlap(Path::new(volume.host.as_str()), &store)) {
        return Err(Failure::new(
            Kind::Usage,
            format!("{} holds git-gate's quarantine, which must not be shared with a guest", volume.host),
        )
        .help("share another folder, or set BOTTLE_STATE_DIR to one that is not shared"));
    }
    let source = Source::open(Path::new(&repo.path));
    let writable = |place: &Path| {
        let hosts = volumes.iter().filter(|volume| volume.writable);
        hosts.map(|volume| Path::new(volume.host.as_str())).any(|host| overlap(host, place))
    };
    repo.writable = match &source {
        Ok(source) => writable(source.path()) || writable(&Path::new(&repo.path).join(".git")),
        Err(_) => writable(Path::new(&repo.path)),
    };
    let recorded_writable = recorded_writable(folder)?;
    let was_writable = |place: &Path| was_writable_by_guest(&recorded_writable, place);
    repo.exposed = match &source {
        Ok(source) => was_writable(source.path()) || was_writable(&Path::new(&repo.path).join(".git")),
        Err(_) => was_writable(Path::new(&repo.path)),
    };
    repo.url = if url::is_location(&repo.upstream) {
        Some(repo.upstream.clone())
    } else {
        let says = source.ok().map(|source| remote(&source, &repo.upstream)).transpose()?.flatten();
        recorded(&repo, folder, says)?
    };
    let Some(place) = repo.url.take() else { return Ok(repo) };
    let usage = |what: String| Failure::new(Kind::Usage, what);
    url::check(&place)
        .map_err(|why| usage(format!("the upstream of {} {why}: {}", repo.name, Line(&place))))?;
    // A relative path is relative to the repository.
    let absolute = match url::local(&place) {
        Some(path) if !place.starts_with("file:") => {
            real(&Path::new(&repo.path).join(path)).display().to_string()
        }
        _ => place,
    };
    if Defence::GitUpstream.stands()
        && let Some(path) = url::local(&absolute)
        && let real = real(Path::new(path))
        && let now = writable(&real)
        && (now || was_writable(&real))
    {
        return Err(usage(format!(
            "the upstream of {}, {}, is in a folder that {} write",
            repo.name,
            real.display(),
            if now { "the guest can" } else { "a guest could" }
        ))
        .help("git would run the upstream's hooks on this machine: move it elsewhere, or share that folder read-only"));
    }
    repo.url = Some(absolute);
    Ok(repo)
}

/// Returns the recorded upstream if a guest could have changed what the repository says.
fn recorded(repo: &Repo, folder: &Folder, says: Option<String>) -> Result<Option<String>> {
    let pin = Pin::read(folder, Path::new(&repo.path))?;
    if !(pin.exposed || repo.exposed) || !Defence::GitUpstream.stands() {
        return Ok(says);
    }
    let Some(was) = pin.remotes.get(&repo.upstream) else {
        if let Some(says) = says {
            out::note(format_args!(
                "{} of {} is {}, and a guest could have written that: nothing is pushed there; \
                 set `upstream = \"...\"` in bottle.toml to say where pushes go",
                Line(&repo.upstream),
                repo.path,
                Line(&says)
            ));
        }
        return Ok(None);
    };
    // The record is absolute; what the repository says may be relative.
    let same = says.as_ref().is_some_and(|says| {
        says == was
            || url::local(says).is_some_and(|path| real(&Path::new(&repo.path).join(path)) == Path::new(was))
    });
    if !same {
        out::note(format_args!(
            "{} of {} was {} before a guest could write to it, and is {} now: bottle goes on using the former; \
             set `upstream = \"...\"` in bottle.toml to change that",
            Line(&repo.upstream),
            repo.path,
            Line(was),
            says.as_deref().map_or_else(|| "gone".to_owned(), |says| Line(says).to_string())
        ));
    }
    Ok(Some(was.clone()))
}

/// Returns where pushes to a remote go, by the repository's configuration alone. git reads only the
/// text that it gets here: files that it includes are not opened.
fn remote(source: &Source, name: &str) -> Result<Option<String>> {
    let text = source.configuration()?;
    for key in ["pushurl", "url"] {
        let words = ["config", "--file", "-", "--no-includes", "--null", "--get-all"];
        let git =
            Git::without_repository().args(words).args([format!("remote.{name}.{key}")]).input(text.clone());
        let ended = git.finish()?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        if let Some(url) = said.split('\0').next().filter(|url| ended.status.success() && !url.is_empty()) {
            return Ok(Some(url.to_owned()));
        }
    }
    Ok(None)
}

/// Returns what guests could write so far; nothing counts as such without the defence.
fn recorded_writable(folder: &Folder) -> Result<WritablePaths> {
    if !Defence::GitUpstream.stands() {
        return Ok(WritablePaths::default());
    }
    let [(_, state), (_, runtime)] = folder.environment();
    WritablePaths::read(&Home::at(state, runtime))
}

/// Tells whether a guest could write to a folder before, or to something in it.
fn was_writable_by_guest(recorded: &WritablePaths, path: &Path) -> bool {
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

/// Returns the path without links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
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

/// Returns whether two folders are the same, or one is inside the other.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
