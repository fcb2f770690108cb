//! Prepares what a step puts into the project.

use super::super::tree::Entry;
use crate::beneath::{self, Folder as Beneath, MODE, moment, set_mode};
use anyhow::{Result, bail};
use rustix::fs::{Gid, Uid};
use std::ffi::OsStr;
use std::fs::File;
use std::io;

/// Prepares one entry in the stage.
pub(super) fn put(
    stage: &Beneath,
    name: &OsStr,
    entry: &Entry,
    owner: Option<(Uid, Gid)>,
    fill: impl Fn(&File) -> Result<()>,
    syncs: bool,
) -> Result<()> {
    match entry {
        Entry::Folder => {
            let made = stage.make_folder(name, 0o777)?;
            if let Some((uid, gid)) = owner {
                made.give(uid, gid)?;
            }
        }
        Entry::Link(target) => {
            stage.make_link(target, name)?;
            if let Some((uid, gid)) = owner {
                stage.give_one(name, uid, gid, |meta| meta.kind == beneath::Kind::Link)?;
            }
        }
        Entry::File { mode, changed, .. } => {
            let file = stage.create(name, 0o600)?;
            fill(&file)?;
            if let Some((uid, gid)) = owner {
                rustix::fs::fchown(&file, Some(uid), Some(gid))?;
            }
            set_mode(&file, mode & MODE)?;
            if let Some(time) = moment(*changed) {
                file.set_modified(time)?;
            }
            if syncs {
                file.sync_all()?;
            }
        }
        _ => bail!("it cannot be applied"),
    }
    Ok(())
}

/// Returns the project's owner if we are root, because root works on behalf of the owner.
pub(super) fn owner(ours: &Beneath) -> io::Result<Option<(Uid, Gid)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = ours.own_meta()?;
    Ok(Some((Uid::from_raw(meta.uid), Gid::from_raw(meta.gid))))
}
