//! Copies, lists and gives away a folder's content. Nothing here follows a link.

use super::snapshot;
use crate::beneath::{Folder, Kind, Limits, MODE, Meta, Seen, moment, set_mode, walk};
use crate::defence::Defence;
use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// What a path is.
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
        /// When it was changed, in nanoseconds since 1970.
        changed: i128,
    },
    /// A symbolic link, and what it points to.
    Link(PathBuf),
    /// A device, a socket or a pipe, which is of no use to anybody else.
    Special,
    /// A folder that is nested too deeply to look into.
    TooDeep,
}

/// Every path of a folder. A path that is not UTF-8 is copied, but cannot be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest {
    /// The paths that are UTF-8.
    pub paths: BTreeMap<PathBuf, Entry>,
    /// The paths that are not UTF-8, if they were looked for.
    #[serde(skip)]
    pub odd: Vec<PathBuf>,
}

/// Returns how much of a copy is listed.
pub fn limits() -> Limits {
    if Defence::TreeLimits.stands() { Limits::default() } else { Limits::NONE }
}

impl Entry {
    /// Returns what a name in a folder is.
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

    /// Returns the file with this metadata.
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
    /// Lists a folder. What disappears meanwhile is left out.
    pub fn of(folder: &Folder) -> Result<Self> {
        let mut found = Self::default();
        let limits = limits();
        let mut targets = 0_u64;
        walk(folder, &limits, |seen| {
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
            if seen.path.to_str().is_some() {
                found.paths.insert(seen.path.to_owned(), entry);
            } else {
                found.odd.push(seen.path.to_owned());
            }
            Ok(is_folder)
        })?;
        found.odd.sort();
        Ok(found)
    }
}

/// Copies a folder's content into an empty one, and lists what was copied.
pub fn copy(from: &Folder, to: &Folder) -> Result<Manifest> {
    let mut copied = Manifest::default();
    walk(from, &limits(), |seen| {
        let what = || seen.path.display().to_string();
        if seen.is_too_deep {
            bail!("{} ...: it is nested too deeply", what().chars().take(60).collect::<String>());
        }
        let mut entry = Entry::seen(seen).with_context(what)?;
        if entry == Entry::Special {
            return Ok(false);
        }
        let (above, name) = to.above(seen.path).with_context(what)?;
        match &entry {
            Entry::Folder => drop(above.make_folder(name, seen.meta.mode | 0o700).with_context(what)?),
            Entry::Link(target) => above.make_link(target, name).with_context(what)?,
            Entry::File { .. } => entry = copy_file(seen, &above, name).with_context(what)?,
            Entry::Special | Entry::TooDeep => {}
        }
        let is_folder = entry == Entry::Folder;
        if seen.path.to_str().is_some() {
            copied.paths.insert(seen.path.to_owned(), entry);
        }
        Ok(is_folder)
    })?;
    Ok(copied)
}

fn copy_file(seen: &Seen, to: &Folder, name: &OsStr) -> io::Result<Entry> {
    let (source, meta) = seen.folder.file(seen.name)?;
    let made = to.create(name, 0o600)?;
    snapshot::copy_with_holes(&source, meta.len, &made)?;
    // Restore what the umask took away.
    set_mode(&made, meta.mode & MODE)?;
    if let Some(time) = moment(meta.changed) {
        made.set_modified(time)?;
    }
    Ok(Entry::file(&meta))
}

/// Gives everything in a folder, and finally the folder itself, to a user.
///
/// Meanwhile a guest may change what is there. Each thing is opened, examined and given away through one
/// descriptor. Anything mounted there keeps its owner. So does a file with a second name, which may be
/// anywhere, unless it belonged to the last machine's user already.
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
