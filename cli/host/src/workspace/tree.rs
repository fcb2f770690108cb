//! What is in a folder, and giving it away. No link is followed.

use super::exact::{self, Text};
use crate::beneath::{Folder, Kind, Limits, MODE, Meta, Seen, walk};
use crate::defence::Defence;
use anyhow::{Context, Result};
use rustix::fs::{Gid, Uid};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

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

impl Manifest {
    /// Returns the files, in order.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).map(|(path, _)| path)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Paths)
    }
}

/// Reads the paths of a [`Manifest`] that an older version wrote. They were written in order, and stay in it.
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
