//! The operator's own repository, read without git.
//!
//! It often lies in a folder that the guest can write: its `.git` is then what the guest left there.
//! So no git ever runs in it. Its refs are read here, strictly; its objects are copied, by kind and
//! name, into a folder of ours ([`Source::copy`]), and git reads only that copy, with our
//! configuration. That leaves nothing to be turned off: no configuration, hook, attribute, filter,
//! alternates, graft, replacement, promisor or `include` of the repository's is ever opened. Every
//! name is opened below a descriptor of the repository's own folder ([`beneath`]), so that no link leads
//! out of it, also where it is exchanged meanwhile; and what git parses can no longer be changed.
//!
//! The price is a copy of the objects, on the same disk, each time that a branch has moved.

use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::name::{ObjectId, is_ref};
use bottle_host::beneath::{self, Folder, Kind};
use rustix::fs::statvfs;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read as text, in bytes: `packed-refs` of half a million branches.
const MAX_TEXT: u64 = 64 << 20;
/// The longest file that holds one ref.
const MAX_REF: u64 = 4096;
/// How many refs and how many objects' files are looked at.
const MAX_REFS: usize = 500_000;
const MAX_FILES: usize = 1_000_000;
/// How deep names of refs are nested.
const MAX_DEPTH: usize = 32;
/// What is copied at most, and what is left free on the disk, in bytes.
const MAX_COPY: u64 = 16 << 30;
const LEFT_FREE: u64 = 1 << 30;

/// The branches and tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    /// Every branch and tag, by its name without `refs/`.
    pub named: BTreeMap<String, ObjectId>,
    /// The branch that is checked out, by its whole name.
    pub head: Option<String>,
    /// What could not be followed, in words.
    pub odd: Vec<String>,
}

/// A repository that is open.
#[derive(Debug)]
pub struct Source {
    /// `HEAD` is here.
    own: Folder,
    /// The rest is here: the same folder, but for a worktree.
    common: Folder,
    /// Where the rest is.
    place: PathBuf,
}

impl Source {
    /// Opens the repository of a folder, bare or not, as it was recorded: no part of the path may be a
    /// link.
    ///
    /// # Errors
    /// Where there is none, or one that leads elsewhere.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = plain(path)?;
        let git = OsStr::new(".git");
        match folder.meta(git).ok().map(|meta| meta.kind) {
            Some(Kind::Folder) => {
                let own = folder.folder(git).with_context(|| path.join(".git").display().to_string())?;
                Self::of(own, path.join(".git"))
            }
            Some(Kind::File) => {
                let text = text(&folder, ".git", MAX_REF)?.context("it is gone")?;
                let target = text.strip_prefix("gitdir: ").map(|target| path.join(target.trim()));
                Self::worktree(path, &target.context("it is no git repository")?)
            }
            Some(_) => {
                bail!("{} is a link: name the repository that it leads to", path.join(".git").display())
            }
            None => Self::of(folder, path.to_owned()),
        }
    }

    fn of(own: Folder, place: PathBuf) -> Result<Self> {
        ensure!(
            !has(&own, "commondir"),
            "{} says that it is a part of another one: name that one",
            place.display()
        );
        Ok(Self { common: own.try_clone()?, own, place })
    }

    /// A worktree, if the repository that it names knows it: otherwise the guest might name any.
    fn worktree(path: &Path, admin: &Path) -> Result<Self> {
        let refused = || {
            let file = path.join(".git");
            format!(
                "{} leads to {}, which does not know it: name that repository itself",
                file.display(),
                admin.display()
            )
        };
        let admin = admin.canonicalize().with_context(refused)?;
        let own = plain(&admin)?;
        let back = text(&own, "gitdir", MAX_REF)?.with_context(refused)?;
        let back = admin.join(back.trim()).canonicalize().with_context(refused)?;
        ensure!(back == path.join(".git"), refused());
        let common = text(&own, "commondir", MAX_REF)?.with_context(refused)?;
        let place = admin.join(common.trim()).canonicalize().with_context(refused)?;
        // `REPOSITORY/worktrees/NAME`, and nothing else.
        ensure!(admin.parent().and_then(Path::parent) == Some(&place), refused());
        Ok(Self { own, common: plain(&place)?, place })
    }

    /// The folder that holds its refs, objects and configuration.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Its configuration, as text.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn configuration(&self) -> Result<String> {
        Ok(text(&self.common, "config", 1 << 20)?.unwrap_or_default())
    }

    /// Its branches and tags.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn refs(&self) -> Result<Refs> {
        ensure!(
            !has(&self.common, "reftable"),
            "{} keeps its refs as a reftable; `git refs migrate --ref-format=files` there changes that",
            self.place.display()
        );
        let mut refs = Refs::default();
        for line in text(&self.common, "packed-refs", MAX_TEXT)?.unwrap_or_default().lines() {
            if let Some((id, name)) = line.split_once(' ')
                && !line.starts_with(['#', '^'])
            {
                take(&mut refs, name, id);
            }
        }
        for below in ["refs/heads", "refs/tags"] {
            if let Ok(dir) = self.common.folder_at(Path::new(below)) {
                loose(&dir, below, 0, &mut refs)?;
            }
        }
        let head = text(&self.own, "HEAD", MAX_REF)?.unwrap_or_default();
        let head = head.strip_prefix("ref:").map(str::trim).filter(|name| is_ref(name));
        refs.head = head.filter(|name| name.starts_with("refs/heads/")).map(str::to_owned);
        let formats: Vec<&str> = refs.named.values().map(ObjectId::format).collect();
        ensure!(
            formats.windows(2).all(|pair| pair[0] == pair[1]),
            "{} mixes SHA-1 and SHA-256",
            self.place.display()
        );
        Ok(refs)
    }

    /// Copies its objects into a folder of ours, `objects` of a repository.
    ///
    /// # Errors
    /// Where they are too many, are kept elsewhere, or cannot be read.
    pub fn copy(&self, into: &Path) -> Result<()> {
        let objects = self.common.folder(OsStr::new("objects")).context("its objects")?;
        let elsewhere = text(&objects, "info/alternates", MAX_REF)?.unwrap_or_default();
        ensure!(
            elsewhere.trim().is_empty(),
            "{} keeps objects in another repository, and a guest could name any; \
             `git repack -a -d && rm .git/objects/info/alternates` there brings them home",
            self.place.display()
        );
        ensure!(
            !has(&self.common, "shallow"),
            "{} is a shallow clone; `git fetch --unshallow` there completes it",
            self.place.display()
        );
        fs::create_dir_all(into.join("pack"))?;
        let room = statvfs(into)?;
        let room = (room.f_bavail * room.f_frsize).saturating_sub(LEFT_FREE);
        let mut copy = Copied { left: MAX_COPY.min(room), files: 0 };
        for name in objects.names()? {
            let name = name?;
            let Some(name) = name.to_str() else { continue };
            let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if name.len() == 2 && hex(name) {
                copy.folder(&objects, name, into, |file| matches!(file.len(), 38 | 62) && hex(file))?;
            } else if name == "pack" {
                copy.folder(&objects, name, into, |file| {
                    file.starts_with("pack-") && (file.ends_with(".pack") || file.ends_with(".idx"))
                })?;
            }
        }
        Ok(())
    }
}

/// What may still be copied.
struct Copied {
    left: u64,
    files: usize,
}

impl Copied {
    fn folder(
        &mut self,
        objects: &Folder,
        name: &str,
        into: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let Ok(dir) = objects.folder(OsStr::new(name)) else { return Ok(()) };
        let into = into.join(name);
        fs::create_dir_all(&into)?;
        for file in dir.names()? {
            let file = file?;
            let Some(file) = file.to_str().filter(|file| wanted(file)) else { continue };
            let Some((from, len)) = regular(&dir, file)? else { continue };
            self.files += 1;
            ensure!(
                self.files <= MAX_FILES && len <= self.left,
                "the repository's objects are more than fit ({} files, {} MiB are left); `git gc` there may help",
                MAX_FILES,
                self.left >> 20
            );
            // What grows meanwhile is cut.
            let mut to = File::create_new(into.join(file))?;
            self.left -= std::io::copy(&mut from.take(len), &mut to)?;
        }
        Ok(())
    }
}

fn take(refs: &mut Refs, name: &str, id: &str) {
    let short = name.strip_prefix("refs/").unwrap_or_default();
    match id.parse() {
        _ if !(short.starts_with("heads/") || short.starts_with("tags/")) => {}
        Ok(id) if is_ref(name) && refs.named.len() < MAX_REFS => _ = refs.named.insert(short.to_owned(), id),
        _ => refs.odd.push(format!("{name} of the repository is no ref that can be followed")),
    }
}

fn loose(dir: &Folder, above: &str, depth: usize, refs: &mut Refs) -> Result<()> {
    for file in dir.names()? {
        let file = file?;
        let name = format!("{above}/{}", file.to_string_lossy());
        ensure!(
            depth < MAX_DEPTH && refs.odd.len() < MAX_REFS,
            "the repository's refs are too deep, or too many"
        );
        if dir.meta(&file)?.kind == Kind::Folder {
            if let Ok(dir) = dir.folder(&file) {
                loose(&dir, &name, depth + 1, refs)?;
            }
        } else if file.to_str().is_none_or(|file| !file.ends_with(".lock")) {
            let id = file.to_str().map_or(Ok(None), |file| text(dir, file, MAX_REF))?;
            take(refs, &name, id.unwrap_or_default().trim());
        }
    }
    Ok(())
}

/// A file's text, if it is there and is a file. No link is followed.
fn text(dir: &Folder, name: &str, most: u64) -> Result<Option<String>> {
    let Some((file, _)) = regular(dir, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "{name} is longer than {most} bytes");
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a regular file, and says how long it is. A pipe is not waited for, and a device is not opened.
fn regular(dir: &Folder, name: &str) -> Result<Option<(File, u64)>> {
    let name = OsStr::new(name);
    if !dir.meta(name).is_ok_and(|meta| meta.kind == Kind::File) {
        return Ok(None);
    }
    match dir.file(name) {
        Ok((file, meta)) => Ok(Some((file, meta.len))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| name.to_string_lossy().into_owned()),
    }
}

fn has(dir: &Folder, name: &str) -> bool {
    dir.meta(OsStr::new(name)).is_ok()
}

/// Opens a folder by a path in which nothing is a link.
fn plain(path: &Path) -> Result<Folder> {
    let below = path.strip_prefix("/").with_context(|| format!("{} is no plain path", path.display()))?;
    beneath::open(Path::new("/"))?
        .folder_at(below)
        .with_context(|| format!("{} is not there, or leads elsewhere", path.display()))
}
