//! Applies changes to the project: exactly what was looked at, all of it or nothing.
//!
//! Changes that the project's state rules out are decided first, path by path. The rest is done as one: see
//! [`super::journal`].

use super::changes::{Change, Kept, What};
use super::copy::Copy;
use super::decide::Here;
use super::journal::{self, Job, Request};
use super::look::{self, Item, Look};
use super::tree::Entry;
use crate::beneath::{Folder, Limits, walk};
use crate::defence::Defence;
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The result of applying changes.
#[derive(Debug, Default)]
pub struct Applied {
    /// The changes that the project has now.
    pub taken: Vec<Change>,
    /// The changes that stay in the guest, each with its reason.
    pub kept: Vec<Change>,
}

impl Copy {
    /// Applies what was looked at. With `overwrite`, paths that the project has changed are replaced, too.
    /// Whatever happens in between, the project then either has all of the changes or is as it was.
    ///
    /// # Errors
    /// Returns an error if the project cannot be written. It is unchanged then.
    pub fn apply(&mut self, look: Look, overwrite: bool) -> Result<Applied> {
        let ours = self.ours()?;
        let Look { items, snapshot, .. } = look;
        let mut kept = Vec::new();
        let mut take = Vec::new();
        for mut item in items {
            if !item.change.may_be_taken(overwrite) {
                kept.push(item.change);
            } else if is_as_judged(&ours, &item) {
                take.push(item);
            } else {
                item.change.kept = Some(Kept::Conflict);
                kept.push(item.change);
            }
        }
        keep_full_folders(&ours, &mut take, &mut kept)?;
        if Defence::Beneath.stands() {
            keep_blocked(&ours, &mut take, &mut kept);
        }
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        if take.is_empty() {
            return Ok(Applied { taken: Vec::new(), kept });
        }
        let requests: Vec<Request> = take.iter().map(|item| request(&ours, item)).collect();
        let fill = |index: usize, to: &File| -> Result<()> {
            let content = take.get(index).and_then(|item| item.content.as_ref());
            Ok(snapshot.put(content.context("it was not read")?, to)?)
        };
        journal::grant(
            &Job { folder: &self.folder, project: &self.record.of, fill: &fill, restores: None },
            &requests,
        )?;
        self.reread()?;
        Ok(Applied { taken: take.into_iter().map(|item| item.change).collect(), kept })
    }
}

fn request(ours: &Folder, item: &Item) -> Request {
    let path = item.change.path.clone();
    let before = match look::here(ours, &path) {
        Here::Is(entry) => Some(entry),
        Here::Nothing | Here::Blocked => None,
    };
    let after = if item.change.what == What::Deleted { None } else { item.after.clone() };
    Request { path, before, after, recorded: None }
}

/// Returns whether the project still has what it had when it was looked at.
fn is_as_judged(ours: &Folder, item: &Item) -> bool {
    let now = look::here(ours, &item.change.path);
    // Nothing was expected there, because a folder takes the place of what is in the way.
    now == item.here || (item.here == Here::Nothing && now == Here::Blocked)
}

/// Sets aside changes that would replace a folder in which the project has something that the guest did not
/// remove, and also the removals below that folder.
fn keep_full_folders(ours: &Folder, take: &mut Vec<Item>, kept: &mut Vec<Change>) -> Result<()> {
    let gone: HashSet<PathBuf> = take
        .iter()
        .filter(|item| item.change.what == What::Deleted || item.here == Here::Is(Entry::Folder))
        .map(|item| item.change.path.clone())
        .collect();
    let mut full = Vec::new();
    for item in &*take {
        let replaces = item.here == Here::Is(Entry::Folder)
            && item.change.what != What::Deleted
            && item.after != Some(Entry::Folder);
        let path = &item.change.path;
        if replaces && has_more(ours, path, &gone).with_context(|| path.display().to_string())? {
            full.push(path.clone());
        }
    }
    keep(take, kept, Kept::NotEmpty, |item| full.iter().any(|folder| item.change.path.starts_with(folder)));
    Ok(())
}

/// Returns whether a folder has anything below it that is not among these paths.
fn has_more(ours: &Folder, path: &Path, gone: &HashSet<PathBuf>) -> Result<bool> {
    let mut has_more = false;
    walk(&ours.folder_at(path)?, &Limits::NONE, |seen| {
        has_more |= !gone.contains(&path.join(seen.path));
        Ok(!has_more)
    })?;
    Ok(has_more)
}

/// Sets aside changes whose path leads through something that is not a folder, and will not become one.
fn keep_blocked(ours: &Folder, take: &mut Vec<Item>, kept: &mut Vec<Change>) {
    let mut coming: HashSet<PathBuf> = HashSet::new();
    let mut blocked: HashSet<PathBuf> = HashSet::new();
    for item in take.iter().filter(|item| item.change.what != What::Deleted) {
        let path = &item.change.path;
        let is_blocked =
            path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).any(|above| {
                !coming.contains(above)
                    && (blocked.contains(above)
                        || matches!(look::here(ours, above), Here::Is(entry) if entry != Entry::Folder))
            });
        if is_blocked {
            blocked.insert(path.clone());
        } else if item.after == Some(Entry::Folder) {
            coming.insert(path.clone());
        }
    }
    keep(take, kept, Kept::Blocked, |item| blocked.contains(&item.change.path));
}

fn keep(take: &mut Vec<Item>, kept: &mut Vec<Change>, why: Kept, is_kept: impl Fn(&Item) -> bool) {
    let (stay, go): (Vec<Item>, Vec<Item>) = take.drain(..).partition(|item| is_kept(item));
    *take = go;
    kept.extend(stay.into_iter().map(|item| Change { kept: Some(why), ..item.change }));
}
