//! What was known of a repository before a guest could write to it.
//!
//! Where upstream is, and what upstream has, is said by the repository itself: `remote.*.url` and its
//! branches. In a folder that is mounted writable that is the guest's to say. So it is written down
//! here, outside of every mount and beside the bottles, as it was when the first bottle started with
//! it; it outlives `bottle rm`. From then on the record counts. A person changes it by naming the
//! upstream in `bottle.toml`, and by approving what the repository has.

use super::Repo;
use super::child::Git;
use super::source::Source;
use crate::defence::Defence;
use crate::failure::{Failure, Kind, Outcome};
use crate::out;
use crate::state::{Folder, Home, private_dir, write_private};
use crate::trust::ground::Ground;
use crate::trust::walk::walk;
use anyhow::{Context, Result};
use bottle_core::git::name::ObjectId;
use bottle_core::git::url;
use bottle_core::plan::Volume;
use bottle_core::visible::Line;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// What holds the records, beside the bottles. It is no slug, so it is no bottle's folder.
const RECORDS: &str = ".upstreams";

/// What is recorded of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The repository.
    path: PathBuf,
    /// Whether a guest could write to it since.
    pub exposed: bool,
    /// Where its remotes are, by their names.
    remotes: BTreeMap<String, String>,
    /// What the upstream has, by the names of its branches and tags without `refs/`.
    pub refs: BTreeMap<String, ObjectId>,
}

impl Pin {
    /// The record of a repository; an empty one where there is none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(folder: &Folder, path: &Path) -> Result<Self> {
        let place = place(folder, path)?;
        let text = match fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(error).with_context(|| place.display().to_string()),
        };
        serde_json::from_str(&text).with_context(|| place.display().to_string())
    }

    /// Writes down what is known now.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&mut self, folder: &Folder, repo: &Repo) -> Result<()> {
        self.exposed |= repo.writable;
        if let Some(url) = &repo.url {
            self.remotes.insert(repo.upstream.clone(), url.clone());
        }
        let place = place(folder, &repo.path)?;
        private_dir(place.parent().context("a file has a folder")?)?;
        write_private(&place, &serde_json::to_vec_pretty(self)?)
    }
}

fn place(folder: &Folder, path: &Path) -> Result<PathBuf> {
    let digest: String = Sha256::digest(path.as_os_str().as_encoded_bytes())
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect();
    let above = folder.state().parent().context("the state folder")?;
    Ok(above.join(RECORDS).join(format!("{digest}.json")))
}

/// Finds out where a repository's upstream is, and whether a guest with these folders could write to
/// the repository.
///
/// # Errors
/// [`Kind::Usage`] where the upstream itself is in such a folder: git would run its hooks here.
pub fn resolve(repo: &Repo, folder: &Folder, volumes: &[Volume]) -> Outcome<Repo> {
    let mut repo = repo.clone();
    // Also where a person insists on sharing it: what was pushed would be judged in the guest's hands.
    let store = real(&folder.git());
    if let Some(volume) = volumes.iter().find(|volume| overlap(Path::new(volume.host.as_str()), &store)) {
        return Err(Failure::new(
            Kind::Usage,
            format!("{} holds git-gate's quarantine, which no guest may have", volume.host),
        )
        .help("share another folder, or set BOTTLE_STATE_DIR to one that is not shared"));
    }
    let source = Source::open(&repo.path);
    let writable = |place: &Path| {
        let hosts = volumes.iter().filter(|volume| volume.writable);
        hosts.map(|volume| Path::new(volume.host.as_str())).any(|host| overlap(host, place))
    };
    repo.writable = match &source {
        Ok(source) => writable(source.place()) || writable(&repo.path.join(".git")),
        Err(_) => writable(&repo.path),
    };
    repo.exposed = match &source {
        Ok(source) => was_guests(folder, source.place())? || was_guests(folder, &repo.path.join(".git"))?,
        Err(_) => was_guests(folder, &repo.path)?,
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
        Some(path) if !place.starts_with("file:") => real(&repo.path.join(path)).display().to_string(),
        _ => place,
    };
    if Defence::GitUpstream.stands()
        && let Some(path) = url::local(&absolute)
        && let real = real(Path::new(path))
        && let now = writable(&real)
        && (now || was_guests(folder, &real)?)
    {
        return Err(usage(format!(
            "the upstream of {}, {}, is in a folder that {} write",
            repo.name,
            real.display(),
            if now { "the guest can" } else { "a guest could" }
        ))
        .help("git would run its hooks on this machine: keep it elsewhere, or share that folder read-only"));
    }
    repo.url = Some(absolute);
    Ok(repo)
}

/// The record, where a guest could have changed what the repository says.
fn recorded(repo: &Repo, folder: &Folder, says: Option<String>) -> Result<Option<String>> {
    let pin = Pin::read(folder, &repo.path)?;
    if !(pin.exposed || repo.exposed) || !Defence::GitUpstream.stands() {
        return Ok(says);
    }
    let Some(was) = pin.remotes.get(&repo.upstream) else {
        if let Some(says) = says {
            out::note(format_args!(
                "{} of {} is {}, and a guest could have written that: nothing goes there; \
                 `upstream = \"...\"` in bottle.toml names where it goes",
                Line(&repo.upstream),
                repo.path.display(),
                Line(&says)
            ));
        }
        return Ok(None);
    };
    // The record is absolute, and what the repository says need not be.
    let same = says.as_ref().is_some_and(|says| {
        says == was || url::local(says).is_some_and(|path| real(&repo.path.join(path)) == Path::new(was))
    });
    if !same {
        out::note(format_args!(
            "{} of {} was {} before a guest could write to it, and now is {}: bottle keeps to what it was; \
             `upstream = \"...\"` in bottle.toml names another",
            Line(&repo.upstream),
            repo.path.display(),
            Line(was),
            says.as_deref().map_or_else(|| "gone".to_owned(), |says| Line(says).to_string())
        ));
    }
    Ok(Some(was.clone()))
}

/// Where pushes to a remote go, by the repository's configuration alone. Git only reads what it is
/// given there: what it includes is not opened.
fn remote(source: &Source, name: &str) -> Result<Option<String>> {
    let text = source.configuration()?;
    for key in ["pushurl", "url"] {
        let words = ["config", "--file", "-", "--no-includes", "--null", "--get-all"];
        let git = Git::nowhere().args(words).args([format!("remote.{name}.{key}")]).input(text.clone());
        let ended = git.end()?;
        let said = String::from_utf8_lossy(&ended.out).into_owned();
        if let Some(url) = said.split('\0').next().filter(|url| ended.status.success() && !url.is_empty()) {
            return Ok(Some(url.to_owned()));
        }
    }
    Ok(None)
}

/// Whether a guest could write to a folder before, or to something in it.
fn was_guests(folder: &Folder, path: &Path) -> Result<bool> {
    if !Defence::GitUpstream.stands() {
        return Ok(false);
    }
    let [(_, state), (_, runtime)] = folder.environment();
    let (ground, path) = (Ground::read(&Home::at(state, runtime))?, real(path));
    let within = walk(&path).is_ok_and(|walk| ground.around(&walk).is_some());
    Ok(within || ground.shared().any(|place| place.path.starts_with(&path)))
}

/// Whether a guest of any bottle can write to a folder now, or could.
///
/// # Errors
/// Where the bottles cannot be read.
pub fn is_guests(folder: &Folder, path: &Path) -> Result<bool> {
    let [(_, state), (_, runtime)] = folder.environment();
    if was_guests(folder, path)? {
        return Ok(true);
    }
    let path = real(path);
    let bottles = Home::at(state, runtime).bottles()?;
    Ok(bottles.iter().filter_map(|bottle| bottle.read_plan().ok()).any(|plan| {
        let hosts = plan.guest.volumes.iter().filter(|volume| volume.writable);
        hosts.map(|volume| Path::new(volume.host.as_str())).any(|host| overlap(host, &path))
    }))
}

/// The path without links and dots, as far as something is there.
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

/// Whether one of two folders is in the other, or is it.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
