//! Copies, lists and gives away a folder's contents. No link is followed.

use super::exact::{self, Text};
use super::exclude::{Exclude, Why};
use super::snapshot;
use crate::beneath::{Folder, Kind, Limits, MODE, Meta, Seen, moment, set_mode, walk, walk_on};
use crate::defence::Defence;
use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Uid};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The prefix of the names of the folders in which `apply` prepares changes.
pub const STAGE: &[u8] = b".bottle-apply.";

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Its permission bits.
        mode: u32,
        /// Its length, in bytes.
        len: u64,
        /// When its content last changed, in nanoseconds since 1970.
        changed: i128,
    },
    /// A symbolic link, with its target.
    Link(#[serde(with = "exact")] PathBuf),
    /// A device, a socket or a pipe, which is of no use elsewhere.
    Special,
    /// A folder that is nested too deeply to examine.
    TooDeep,
    /// Something that this user may not read.
    Unreadable,
}

/// Every path in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The paths.
    pub paths: BTreeMap<PathBuf, Entry>,
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.paths.iter().map(|(path, entry)| (Text::of(path), entry)))
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<Text, Entry>::deserialize(from)?;
        let paths = texts.into_iter().map(|(text, entry)| {
            let path = text.path().ok_or_else(|| D::Error::custom("it is not a path"))?;
            Ok((path, entry))
        });
        Ok(Self { paths: paths.collect::<Result<_, _>>()? })
    }
}

/// Returns how much of a copy is listed.
pub fn limits() -> Limits {
    if Defence::TreeLimits.stands() { Limits::default() } else { Limits::NONE }
}

impl Entry {
    /// Returns what has this name in a folder.
    pub fn at(folder: &Folder, name: &OsStr) -> io::Result<Self> {
        let meta = folder.meta(name)?;
        Ok(match meta.kind {
            Kind::Folder => Self::Folder,
            // The target of a link is only read, and may be anywhere.
            Kind::Link => Self::Link(folder.read_link(name)?),
            Kind::File => Self::file(&meta),
            Kind::Special => Self::Special,
        })
    }

    /// Returns the entry of a file with this metadata.
    pub fn file(meta: &Meta) -> Self {
        Self::File { mode: meta.mode & MODE, len: meta.len, changed: meta.changed }
    }

    fn seen(seen: &Seen) -> io::Result<Self> {
        match seen.meta.kind {
            Kind::Folder if seen.is_too_deep => Ok(Self::TooDeep),
            Kind::Folder => Ok(Self::Folder),
            Kind::File => Ok(Self::file(&seen.meta)),
            Kind::Special => Ok(Self::Special),
            Kind::Link => Ok(Self::Link(seen.folder.read_link(seen.name)?)),
        }
    }
}

impl Manifest {
    /// Lists a folder. Whatever disappears meanwhile is left out. So is a path for which `leave` returns
    /// true, with everything below it; `leave` gets the path, and whether it is a folder.
    pub fn of(folder: &Folder, mut leave: impl FnMut(&Path, bool) -> bool) -> Result<Self> {
        let mut found = Self::default();
        let mut unreadable = Vec::new();
        let limits = limits();
        let mut targets = 0_u64;
        let visit = |seen: &Seen| {
            if leave(seen.path, seen.meta.kind == Kind::Folder) {
                return Ok(false);
            }
            let entry = match Entry::seen(seen) {
                Ok(entry) => entry,
                // It was a link a moment ago.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                    return Ok(false);
                }
                Err(error) => return Err(error).with_context(|| seen.path.display().to_string()),
            };
            if let Entry::Link(target) = &entry {
                targets += target.as_os_str().len() as u64;
                if targets > limits.names {
                    bail!("the targets of its links are too long to keep in memory");
                }
            }
            let is_folder = entry == Entry::Folder;
            found.paths.insert(seen.path.to_owned(), entry);
            Ok(is_folder)
        };
        walk_on(folder, &limits, visit, |path| {
            unreadable.push(path.to_owned());
            Ok(!path.as_os_str().is_empty())
        })?;
        found.paths.extend(unreadable.into_iter().map(|path| (path, Entry::Unreadable)));
        Ok(found)
    }
}

/// Paths that were not copied, or not copied unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Paths that a list of patterns excludes.
    pub listed: Vec<PathBuf>,
    /// Files like `.env`.
    pub secret: Vec<PathBuf>,
    /// Devices, sockets and pipes.
    pub special: Vec<PathBuf>,
    /// Paths that this user may not read.
    pub unreadable: Vec<PathBuf>,
    /// Files that were copied without the bit that gives a program somebody else's rights.
    pub privileged: Vec<PathBuf>,
}

/// Copies a folder's contents into an empty one. Returns what was copied, and what was not.
pub fn copy(from: &Folder, to: &Folder, exclude: &Exclude) -> Result<(Manifest, Omitted)> {
    let mut copied = Manifest::default();
    let mut omitted = Omitted::default();
    let mut closed = Vec::new();
    let visit = |seen: &Seen| {
        let what = || seen.path.display().to_string();
        let is_folder = seen.meta.kind == Kind::Folder;
        let path = seen.path.to_owned();
        match exclude.why(seen.path, is_folder) {
            // A folder is not a secret, even if it has a secret's name.
            Some(Why::Secret) if !is_folder => {
                omitted.secret.push(path);
                return Ok(false);
            }
            Some(Why::Listed) => {
                omitted.listed.push(path);
                return Ok(false);
            }
            _ => {}
        }
        if is_folder && seen.path.components().count() == 1 && seen.name.as_bytes().starts_with(STAGE) {
            return Ok(false);
        }
        if seen.is_too_deep {
            bail!("{} ...: it is nested too deeply", what().chars().take(60).collect::<String>());
        }
        let mut entry = Entry::seen(seen).with_context(what)?;
        if entry == Entry::Special {
            omitted.special.push(path);
            return Ok(false);
        }
        let (above, name) = to.above(seen.path).with_context(what)?;
        match &entry {
            Entry::Folder => drop(above.make_folder(name, seen.meta.mode | 0o700).with_context(what)?),
            Entry::Link(target) => above.make_link(target, name).with_context(what)?,
            Entry::File { .. } => match copy_file(seen, &above, name) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied && above.meta(name).is_err() => {
                    omitted.unreadable.push(path);
                    return Ok(false);
                }
                copied => entry = copied.with_context(what)?,
            },
            Entry::Special | Entry::TooDeep | Entry::Unreadable => {}
        }
        if seen.meta.is_privileged {
            omitted.privileged.push(path.clone());
        }
        copied.paths.insert(path, entry);
        Ok(is_folder)
    };
    walk_on(from, &limits(), visit, |path| {
        closed.push(path.to_owned());
        Ok(!path.as_os_str().is_empty())
    })?;
    for path in closed {
        // A folder was created before it turned out to be unreadable.
        if copied.paths.remove(&path).is_some() {
            let (above, name) = to.above(&path)?;
            above.remove_folder(name)?;
        }
        omitted.unreadable.push(path);
    }
    Ok((copied, omitted))
}

fn copy_file(seen: &Seen, to: &Folder, name: &OsStr) -> io::Result<Entry> {
    let (source, meta) = seen.folder.file(seen.name)?;
    let made = to.create(name, 0o600)?;
    snapshot::copy_with_holes(&source, meta.len, &made)?;
    // Restore the bits that the umask removed.
    set_mode(&made, meta.mode & MODE)?;
    if let Some(time) = moment(meta.changed) {
        made.set_modified(time)?;
    }
    Ok(Entry::file(&meta))
}

/// Gives everything in a folder, and finally the folder itself, to a user.
///
/// A guest may change the folder meanwhile, so each thing is opened, examined and given away through one
/// descriptor. Anything mounted there keeps its owner. So does a file with a second name, which may be
/// anywhere, unless it already belonged to the last machine's user.
pub fn give_all(folder: &Folder, uid: Uid, gid: Gid) -> Result<()> {
    let own = folder.own_meta()?;
    let may = |meta: &Meta| {
        let is_theirs = meta.uid == own.uid && own.uid != 0;
        meta.kind == Kind::Folder || meta.has_one_name || is_theirs
    };
    let limits = Limits { entries: u64::MAX, names: u64::MAX, ..Limits::default() };
    walk(folder, &limits, |seen| match seen.folder.give_one(seen.name, uid, gid, may) {
        Ok(meta) => Ok(meta.kind == Kind::Folder),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::CrossesDevices) => Ok(false),
        Err(error) => Err(error).with_context(|| seen.path.display().to_string()),
    })?;
    Ok(folder.give(uid, gid)?)
}
