//! What a guest changed in its copy, and what of it may be taken back.

use super::tree::{Entry, Manifest, open};
use anyhow::Result;
use bottle_core::visible;
use cap_std::fs::Dir;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is new.
    Added,
    /// Its content, its permissions or its kind is another.
    Changed,
    /// It is gone.
    Deleted,
}

/// Why a change is not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// What is below `.git` can run on the host: hooks, filters, a pager.
    Git,
    /// A link that leads out of the project.
    LeadsOut,
    /// A device, a socket, a pipe.
    Special,
    /// The project's own path has changed since, too.
    Conflict,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path, from the project's folder.
    pub path: PathBuf,
    /// What became of it.
    pub what: What,
    /// Why it is not taken back, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl What {
    /// As git shows it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'M',
            Self::Deleted => 'D',
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Git => "what is below .git could run on this machine; git-gate takes commits",
            Self::LeadsOut => "a link that leads out of the project",
            Self::Special => "neither file, folder nor link",
            Self::Conflict => "you changed it, too; --overwrite takes the guest's",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the guest named must not steer the terminal that shows it.
        let path = self.path.to_string_lossy();
        write!(f, "{} {}", self.what.letter(), visible::Line(&path))?;
        self.kept.map_or(Ok(()), |why| write!(f, "  (stays in the guest: {why})"))
    }
}

/// Compares the guest's copy (`theirs`) with what was copied, and with the project as it is now
/// (`ours`). A folder counts where it is new and empty, or gone.
pub fn between(was: &Manifest, theirs: &Dir, ours: &Dir) -> Result<Vec<Change>> {
    let now = Manifest::of(theirs)?;
    let paths: BTreeSet<&PathBuf> = was.0.keys().chain(now.0.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let what = match (was.0.get(path), now.0.get(path)) {
            (None, Some(Entry::Folder)) if has_below(&now, path) => continue,
            (None, Some(_)) => What::Added,
            (Some(_), None) => What::Deleted,
            (Some(before), Some(after)) if before != after => What::Changed,
            _ => continue,
        };
        let here = Entry::at(ours, path).ok();
        let after = now.0.get(path);
        if what != What::Deleted && same(path, after, theirs, here.as_ref(), ours) {
            continue;
        }
        if what == What::Deleted && here.is_none() {
            continue;
        }
        let kept = kept(path, after).or_else(|| (here.as_ref() != was.0.get(path)).then_some(Kept::Conflict));
        changes.push(Change { path: path.clone(), what, kept });
    }
    Ok(changes)
}

fn has_below(manifest: &Manifest, folder: &Path) -> bool {
    let next =
        manifest.0.range::<Path, _>((std::ops::Bound::Excluded(folder), std::ops::Bound::Unbounded)).next();
    next.is_some_and(|(path, _)| path.starts_with(folder))
}

/// Why a path is never taken back, whatever a person says.
pub fn kept(path: &Path, after: Option<&Entry>) -> Option<Kept> {
    let is_git =
        |part: Component| part.as_os_str().to_str().is_some_and(|name| name.eq_ignore_ascii_case(".git"));
    if path.components().any(is_git) {
        return Some(Kept::Git);
    }
    match after {
        Some(Entry::Special) => Some(Kept::Special),
        Some(Entry::Link(target)) if leads_out(path, target) => Some(Kept::LeadsOut),
        _ => None,
    }
}

/// Whether a link at `path` points out of the folder that both are in, or into its `.git`.
fn leads_out(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    for part in target.components() {
        match part {
            Component::ParentDir => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            Component::Normal(name) if name.eq_ignore_ascii_case(".git") => return true,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// Whether both sides have the same there: what a guest only touched is not changed.
fn same(path: &Path, a: Option<&Entry>, theirs: &Dir, b: Option<&Entry>, ours: &Dir) -> bool {
    match (a, b) {
        (Some(Entry::File { mode, len, .. }), Some(Entry::File { mode: our_mode, len: our_len, .. }))
            if mode == our_mode && len == our_len =>
        {
            let read = || Ok::<_, std::io::Error>((open(theirs, path)?, open(ours, path)?));
            read().and_then(|(a, b)| equal(a, b)).unwrap_or(false)
        }
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn equal(a: impl Read, b: impl Read) -> std::io::Result<bool> {
    let (mut a, mut b) = (std::io::BufReader::new(a).bytes(), std::io::BufReader::new(b).bytes());
    loop {
        match (a.next().transpose()?, b.next().transpose()?) {
            (None, None) => return Ok(true),
            (x, y) if x != y => return Ok(false),
            _ => {}
        }
    }
}
