//! The operator's own repository, read without git.
//!
//! It often lies in a folder that the guest can write: its `.git` is then what the guest left there.
//! So no git ever runs in it. Its refs are read here, strictly; its objects are copied, by kind and
//! name, into a folder of ours ([`Source::copy`]), and git reads only that copy, with our
//! configuration. That leaves nothing to be turned off: no configuration, hook, attribute, filter,
//! alternates, graft, replacement, promisor or `include` of the repository's is ever opened. Every
//! name is opened below a descriptor of the repository's own folder (cap-std), so that no link leads
//! out of it, also where it is exchanged meanwhile; and what git parses can no longer be changed.
//!
//! The price is a copy of the objects, on the same disk, each time that a branch has moved.

use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::name::{ObjectId, is_ref};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags, open, openat, statvfs};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

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
    own: Dir,
    /// The rest is here: the same folder, but for a worktree.
    common: Dir,
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
        let kind = |name: &str| folder.symlink_metadata(name).ok().map(|meta| meta.file_type());
        match kind(".git") {
            Some(kind) if kind.is_dir() => {
                let own = folder.open_dir(".git").with_context(|| path.join(".git").display().to_string())?;
                Self::of(own, path.join(".git"))
            }
            Some(kind) if kind.is_file() => {
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

    fn of(own: Dir, place: PathBuf) -> Result<Self> {
        ensure!(
            !own.exists("commondir"),
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
            !self.common.exists("reftable"),
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
            if let Ok(dir) = self.common.open_dir(below) {
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
        let objects = self.common.open_dir("objects").context("its objects")?;
        let elsewhere = text(&objects, "info/alternates", MAX_REF)?.unwrap_or_default();
        ensure!(
            elsewhere.trim().is_empty(),
            "{} keeps objects in another repository, and a guest could name any; \
             `git repack -a -d && rm .git/objects/info/alternates` there brings them home",
            self.place.display()
        );
        ensure!(
            !self.common.exists("shallow"),
            "{} is a shallow clone; `git fetch --unshallow` there completes it",
            self.place.display()
        );
        fs::create_dir_all(into.join("pack"))?;
        let room = statvfs(into)?;
        let room = (room.f_bavail * room.f_frsize).saturating_sub(LEFT_FREE);
        let mut copy = Copied { left: MAX_COPY.min(room), files: 0 };
        for entry in objects.entries()? {
            let name = entry?.file_name();
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
        objects: &Dir,
        name: &str,
        into: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let Ok(dir) = objects.open_dir(name) else { return Ok(()) };
        let into = into.join(name);
        fs::create_dir_all(&into)?;
        for entry in dir.entries()? {
            let file = entry?.file_name();
            let Some(file) = file.to_str().filter(|file| wanted(file)) else { continue };
            let Some(from) = regular(&dir, file)? else { continue };
            self.files += 1;
            let len = from.metadata()?.len();
            ensure!(
                self.files <= MAX_FILES && len <= self.left,
                "the repository's objects are more than fit ({} files, {} MiB are left); `git gc` there may help",
                MAX_FILES,
                self.left >> 20
            );
            // What grows meanwhile is cut.
            let mut to = fs::File::create_new(into.join(file))?;
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

fn loose(dir: &Dir, above: &str, depth: usize, refs: &mut Refs) -> Result<()> {
    for entry in dir.entries()? {
        let entry = entry?;
        let file = entry.file_name();
        let name = format!("{above}/{}", file.to_string_lossy());
        ensure!(
            depth < MAX_DEPTH && refs.odd.len() < MAX_REFS,
            "the repository's refs are too deep, or too many"
        );
        let kind = dir.symlink_metadata(&file)?.file_type();
        if kind.is_dir() {
            if let Ok(dir) = dir.open_dir(&file) {
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
fn text(dir: &Dir, name: &str, most: u64) -> Result<Option<String>> {
    let Some(file) = regular(dir, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "{name} is longer than {most} bytes");
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a regular file. A pipe is not waited for, and a device is not opened.
fn regular(dir: &Dir, name: &str) -> Result<Option<File>> {
    if !dir.symlink_metadata(name).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).context("flags")?);
    match dir.open_with(name, &options) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| name.to_owned()),
    }
}

/// Opens a folder by a path in which nothing is a link.
fn plain(path: &Path) -> Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut dir: OwnedFd = open("/", flags, Mode::empty())?;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => {
                dir = openat(&dir, name, flags, Mode::empty())
                    .with_context(|| format!("{} is not there, or leads elsewhere", path.display()))?;
            }
            _ => bail!("{} is no plain path", path.display()),
        }
    }
    Ok(Dir::from_std_file(fs::File::from(dir)))
}
