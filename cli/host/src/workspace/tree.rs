//! Lists and gives away a folder's contents. No link is followed.

use super::exact::{self, Text};
use crate::beneath::{Folder, Kind, Limits, MODE, Meta, Seen, walk, walk_on};
use crate::defence::Defence;
use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Uid};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
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
        from.deserialize_map(Paths)
    }
}

/// Reads the paths of a [`Manifest`]. They were written in order, and stay in it.
struct Paths;

impl<'de> Visitor<'de> for Paths {
    type Value = Manifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("paths, each with what is there")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
        let mut paths = Vec::new();
        while let Some((text, entry)) = map.next_entry::<Text, Entry>()? {
            paths.push((text.path().ok_or_else(|| A::Error::custom("it is not a path"))?, entry));
        }
        Ok(Manifest { paths: paths.into_iter().collect() })
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

    /// Returns the entry of something that a walk found.
    pub(super) fn seen(seen: &Seen) -> io::Result<Self> {
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
    /// true, with everything below it; `leave` gets the path, and whether it is a folder. `found_file` gets each
    /// file that is listed.
    pub(super) fn of(
        folder: &Folder,
        mut leave: impl FnMut(&Path, bool) -> bool,
        mut found_file: impl FnMut(&Path, &Meta),
    ) -> Result<Self> {
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
            if let Entry::File { .. } = &entry {
                found_file(seen.path, &seen.meta);
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
