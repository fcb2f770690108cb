//! A second statement of which of a guest's changes may be applied: in terms of the project's state
//! afterwards, not of how it is decided. The property test and the fuzz target share this file.

use bottle_core::git::repository::{self, Parts};
use bottle_host::workspace::decide::{Here, Project, changes};
use bottle_host::workspace::tree::{Entry, Manifest};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Names that matter to git, and a few others.
pub const NAMES: [&str; 11] =
    ["a", "b", "c", ".git", "HEAD", "objects", "refs", "commondir", ".GIT ", "git~1", ".gitmodules"];

/// The entries of a folder, by their paths.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// Creates a tree in which everything that contains something is a folder.
pub fn tree(entries: impl IntoIterator<Item = (PathBuf, Entry)>) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            tree.insert(above.to_owned(), Entry::Folder);
        }
        if !tree.keys().any(|known| known != &path && known.starts_with(&path)) {
            tree.insert(path, entry);
        }
    }
    tree
}

/// The project, as a tree in memory.
struct Ours(Tree);

impl Project for Ours {
    fn here(&mut self, path: &Path) -> Here {
        if self.is_blocked(path) {
            return Here::Blocked;
        }
        self.0.get(path).cloned().map_or(Here::Nothing, Here::Is)
    }

    fn parts(&mut self, folder: &Path) -> Parts {
        let mut parts = Parts::default();
        for path in self.0.keys().filter(|path| path.parent() == Some(folder)) {
            parts.note(path.file_name().unwrap_or_default().as_bytes());
        }
        parts
    }
}

impl Ours {
    /// Returns whether a parent of the path is not a folder.
    fn is_blocked(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.0.get(above).is_some_and(|entry| *entry != Entry::Folder))
    }
}

/// Checks everything that would be applied if the copy was once `was`, is `now`, and the project is `ours`.
///
/// # Panics
/// Panics if applying it would do harm, or if a change is neither applied nor listed.
pub fn check(was: Tree, now: Tree, ours: Tree, overwrite: bool) {
    let (was, now) = (Manifest { paths: was }, Manifest { paths: now });
    let mut ours = Ours(ours);
    let judged = changes(&was, &now, &HashMap::new(), &mut ours, true);
    for one in &judged {
        let path = &one.change.path;
        assert!(was.paths.get(path) != now.paths.get(path), "{} was left alone", path.display());
    }
    let taken: Vec<_> = judged.iter().filter(|one| one.change.may_be_taken(overwrite)).collect();
    let mut then = Ours(ours.0.clone());
    for one in &taken {
        let path = &one.change.path;
        assert!(path.iter().all(|name| !repository::is_git(name.as_bytes())), "{}", path.display());
        if !overwrite {
            let before = ours.0.get(path);
            let is_as_it_was = before == was.paths.get(path) || before.is_none() || ours.is_blocked(path);
            assert!(is_as_it_was, "{} is overwritten", path.display());
        }
        match &one.after {
            Some(Entry::Special | Entry::TooDeep) => panic!("{} is not a file", path.display()),
            Some(Entry::Link(target)) => check_link(path, target),
            Some(Entry::File { mode, .. }) => {
                let ours = if let Here::Is(Entry::File { mode, .. }) = &one.here { *mode } else { 0 };
                assert_eq!(mode & !(0o755 | ours), 0, "{} has more permissions than it may", path.display());
            }
            _ => {}
        }
        match &one.after {
            Some(entry) => drop(then.0.insert(path.clone(), entry.clone())),
            None => drop(then.0.remove(path)),
        }
    }
    for one in &taken {
        let path = &one.change.path;
        let is_there = one.after.is_some();
        assert!(!(is_there && then.is_blocked(path)), "{} goes through something", path.display());
        for folder in path.ancestors().skip(1) {
            assert!(!then.parts(folder).make_repository(), "{} is a repository", folder.display());
        }
    }
    for (path, entry) in &now.paths {
        let is_new = !was.paths.contains_key(path) && *entry != Entry::Folder;
        if is_new && ours.here(path) == Here::Nothing {
            assert!(judged.iter().any(|one| one.change.path == *path), "{} is not listed", path.display());
        }
    }
}

/// Checks that a link goes up only at its start, never past the project, and never into `.git`.
fn check_link(path: &Path, target: &Path) {
    let parts: Vec<_> = target.components().filter(|part| *part != Component::CurDir).collect();
    let ups = parts.iter().take_while(|part| **part == Component::ParentDir).count();
    assert!(ups < path.iter().count(), "{} leads out of the project", path.display());
    for part in &parts[ups..] {
        let Component::Normal(name) = part else { panic!("{} leads elsewhere", path.display()) };
        assert!(!repository::is_git(name.as_bytes()), "{} leads into .git", path.display());
    }
}
