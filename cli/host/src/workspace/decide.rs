//! Decides which paths of a copy changed, and which of those changes may be applied. This is pure: it takes
//! two listings of the copy, and asks for the project's state.

use super::changes::{Change, Kept, What};
use super::tree::{Entry, Manifest};
use bottle_core::git::repository::{self, Parts};
use bottle_guest::archive::stays_inside;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What the project has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Here {
    /// Nothing.
    Nothing,
    /// This entry.
    Is(Entry),
    /// Something is in the way: a parent of the path is a file or a link, not a folder.
    Blocked,
}

/// Who changed the content of a file that otherwise looks as it was copied, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// The guest.
    Guest,
    /// The guest or the person.
    Either,
}

/// The questions asked about the project.
pub trait Project {
    /// Returns what it has at a path.
    fn here(&mut self, path: &Path) -> Here;
    /// Returns which parts of a repository it has in a folder.
    fn parts(&mut self, folder: &Path) -> Parts;
}

/// A changed path, judged without looking at any content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What is shown of it.
    pub change: Change,
    /// What the copy has there, with the permissions that it would get in the project.
    pub after: Option<Entry>,
    /// What the project has there.
    pub here: Here,
}

/// Compares the guest's copy as it is (`now`) with what was copied (`was`), and with the project. A folder
/// counts if it is new and empty, or gone. Files that only seem to have changed, with the same content and
/// another time, are included. So are those in `silent`, whose content changed, and nothing else.
///
/// `every_git` decides whether every name that git could take for `.git` counts, or only `.git` itself.
pub fn changes(
    was: &Manifest,
    now: &Manifest,
    silent: &HashMap<PathBuf, Silent>,
    project: &mut impl Project,
    every_git: bool,
) -> Vec<Judged> {
    let mut repositories = Repositories { now, copied: OnceCell::new(), known: HashMap::new() };
    let mut judged = Vec::new();
    // Folders that will take the place of something else, if they are applied.
    let mut coming = HashSet::new();
    // The contents of what cannot be read are unknown, so nothing below it counts as gone.
    let closed: HashSet<PathBuf> = now
        .paths
        .iter()
        .filter(|(_, entry)| **entry == Entry::Unreadable)
        .map(|(path, _)| path.clone())
        .collect();
    for (path, before, after) in both(was, now) {
        // What the guest left alone is no change of its, whatever the project has there now.
        let silent = silent.get(path);
        let is_silent = silent.is_some();
        if (before == after && !is_silent) || (!closed.is_empty() && is_below_one_of(path, &closed)) {
            continue;
        }
        if before.is_none() && after == Some(&Entry::Folder) && has_below(now, path) {
            let mut here = project.here(path);
            if here == Here::Blocked && is_below_one_of(path, &coming) {
                here = Here::Nothing;
            }
            if here == Here::Nothing {
                coming.insert(path.clone());
            }
            continue;
        }
        let mut here = project.here(path);
        if here == Here::Blocked && is_below_one_of(path, &coming) {
            here = Here::Nothing;
        }
        let after = after.map(|after| tamed(after, &here));
        let what = match (before, &after) {
            (None, Some(_)) => What::Added,
            (Some(_), None) if here == Here::Nothing => continue,
            (Some(_), None) => What::Deleted,
            (Some(before), Some(after)) if before != after || is_silent => What::Changed,
            _ => continue,
        };
        if is_the_same(after.as_ref(), &here) {
            continue;
        }
        let mut kept = kept(path, after.as_ref(), every_git);
        if every_git && kept.is_none() && repositories.hold(path, project) {
            kept = Some(Kept::Repository);
        }
        let kept = kept.or_else(|| match (&here, before) {
            (Here::Blocked, _) => Some(Kept::Blocked),
            (Here::Nothing, None) => None,
            _ if silent == Some(&Silent::Either) => Some(Kept::Conflict),
            (Here::Is(here), Some(before)) if here == before => None,
            _ => Some(Kept::Conflict),
        });
        if after == Some(Entry::Folder) && kept.is_none() {
            coming.insert(path.clone());
        }
        judged.push(Judged { change: Change { path: path.clone(), what, kept }, after, here });
    }
    judged
}

/// Returns each path of two listings, in order, with what each has there. Looking up each path of one in the other
/// would compare many more paths, and a large project has many.
fn both<'a>(
    was: &'a Manifest,
    now: &'a Manifest,
) -> impl Iterator<Item = (&'a PathBuf, Option<&'a Entry>, Option<&'a Entry>)> {
    let (mut was, mut now) = (was.paths.iter().peekable(), now.paths.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (was.peek(), now.peek()) {
            // Most are the same, and comparing bytes is faster than comparing parts.
            (Some((was, _)), Some((now, _))) if was.as_os_str() == now.as_os_str() => Ordering::Equal,
            (Some((was, _)), Some((now, _))) => was.cmp(now),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let before = if order.is_le() { was.next() } else { None };
        let after = if order.is_ge() { now.next() } else { None };
        let path = before.or(after)?.0;
        Some((path, before.map(|(_, entry)| entry), after.map(|(_, entry)| entry)))
    })
}

/// Returns why a path is never applied, whatever a person says.
pub fn kept(path: &Path, after: Option<&Entry>, every_git: bool) -> Option<Kept> {
    let is_git = |part: Component| match part {
        Component::Normal(name) if every_git => repository::is_git(name.as_bytes()),
        Component::Normal(name) => name.eq_ignore_ascii_case(".git"),
        _ => false,
    };
    if path.components().any(is_git) {
        return Some(Kept::Git);
    }
    match after {
        // git reads whatever it points to, under any name.
        Some(Entry::Link(_)) if every_git && path.file_name().is_some_and(is_modules) => Some(Kept::Git),
        Some(Entry::Special) => Some(Kept::Special),
        Some(Entry::TooDeep) => Some(Kept::TooDeep),
        Some(Entry::Unreadable) => Some(Kept::Unreadable),
        Some(Entry::Link(target)) if !stays_inside(path, target, 0) || target.components().any(is_git) => {
            Some(Kept::LeadsOut)
        }
        _ => None,
    }
}

fn is_modules(name: &OsStr) -> bool {
    name.eq_ignore_ascii_case(".gitmodules")
}

/// Reduces a guest's permissions: others may write only where the project already lets them.
fn tamed(after: &Entry, here: &Here) -> Entry {
    let allowed = match here {
        Here::Is(Entry::File { mode, .. }) => *mode,
        _ => 0,
    };
    match after {
        Entry::File { mode, len, changed } => {
            Entry::File { mode: mode & (0o755 | allowed), len: *len, changed: *changed }
        }
        other => other.clone(),
    }
}

/// Returns whether the project already has the same, as far as that is visible without reading the content.
fn is_the_same(after: Option<&Entry>, here: &Here) -> bool {
    match (after, here) {
        (Some(Entry::File { .. }), _) | (None, _) => false,
        (Some(after), Here::Is(here)) => after == here,
        _ => false,
    }
}

fn has_below(manifest: &Manifest, folder: &Path) -> bool {
    let next = manifest.paths.range::<Path, _>((Bound::Excluded(folder), Bound::Unbounded)).next();
    next.is_some_and(|(path, _)| path.starts_with(folder))
}

fn is_below_one_of(path: &Path, folders: &HashSet<PathBuf>) -> bool {
    path.ancestors().skip(1).any(|above| folders.contains(above))
}

/// Returns which parts of a repository each folder of the copy holds, for those that hold any.
fn parts_of(now: &Manifest) -> HashMap<&Path, Parts> {
    let mut folders: HashMap<&Path, Parts> = HashMap::new();
    for path in now.paths.keys() {
        let name = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        // Few names are any part of one.
        if Parts::default().note(name)
            && let Some(folder) = path.parent()
        {
            folders.entry(folder).or_default().note(name);
        }
    }
    folders
}

/// The folders that git would take for a repository if the project had everything that the copy has, even if
/// only some of it is applied now.
struct Repositories<'a> {
    now: &'a Manifest,
    /// Found for the first change: most looks find none.
    copied: OnceCell<HashMap<&'a Path, Parts>>,
    /// Whether a folder is a repository or inside one. Each is looked up only once: a guest decides how many
    /// there are, and how deep.
    known: HashMap<PathBuf, bool>,
}

impl Repositories<'_> {
    /// Returns whether a path is in one of them.
    fn hold(&mut self, path: &Path, project: &mut impl Project) -> bool {
        let unknown: Vec<&Path> =
            path.ancestors().skip(1).take_while(|folder| !self.known.contains_key(*folder)).collect();
        for folder in unknown.into_iter().rev() {
            let above = folder.parent().and_then(|above| self.known.get(above)).copied().unwrap_or(false);
            let copied =
                self.copied.get_or_init(|| parts_of(self.now)).get(folder).copied().unwrap_or_default();
            let is_one = above || copied.union(project.parts(folder)).make_repository();
            self.known.insert(folder.to_owned(), is_one);
        }
        path.parent().and_then(|folder| self.known.get(folder)).copied().unwrap_or(false)
    }
}
