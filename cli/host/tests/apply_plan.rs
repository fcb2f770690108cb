//! Which of a guest's changes may be applied, stated a second time: by what the project would look like
//! afterwards, instead of by how it is decided.

use bottle_core::git::repository::{self, Parts};
use bottle_host::workspace::changes::What;
use bottle_host::workspace::decide::{Here, Project, changes};
use bottle_host::workspace::tree::{Entry, Manifest};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const NAMES: &[&str] =
    &["a", "b", "c", ".git", "HEAD", "objects", "refs", "commondir", ".GIT ", "git~1", ".gitmodules"];

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        Just(Entry::Folder),
        (0_u32..0o1000, 0_u64..3).prop_map(|(mode, len)| Entry::File { mode, len, changed: 0 }),
        "(\\.\\./){0,3}(a|b|/etc|\\.git)(/\\.\\.){0,2}(/a)?".prop_map(|target| Entry::Link(target.into())),
        Just(Entry::Special),
    ]
}

/// Makes a tree in which everything that has something below it is a folder.
fn tree() -> impl Strategy<Value = BTreeMap<PathBuf, Entry>> {
    let path = proptest::collection::vec(proptest::sample::select(NAMES), 1..4)
        .prop_map(|names| names.iter().collect::<PathBuf>());
    proptest::collection::vec((path, entry()), 0..12).prop_map(|things| {
        let mut tree = BTreeMap::new();
        for (path, entry) in things {
            for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                tree.insert(above.to_owned(), Entry::Folder);
            }
            if !tree.keys().any(|known: &PathBuf| known != &path && known.starts_with(&path)) {
                tree.insert(path, entry);
            }
        }
        tree
    })
}

struct Ours(BTreeMap<PathBuf, Entry>);

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
            parts.note(path.file_name().unwrap().as_bytes());
        }
        parts
    }
}

impl Ours {
    fn is_blocked(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.0.get(above).is_some_and(|entry| *entry != Entry::Folder))
    }
}

/// Adds to a tree whatever of another one fits.
fn both(mut tree: BTreeMap<PathBuf, Entry>, other: BTreeMap<PathBuf, Entry>) -> BTreeMap<PathBuf, Entry> {
    for (path, entry) in other {
        let fits =
            path.ancestors().skip(1).all(|above| tree.get(above).is_none_or(|entry| *entry == Entry::Folder));
        let is_free = !tree.keys().any(|known| known != &path && known.starts_with(&path));
        if fits && (is_free || entry == Entry::Folder) {
            tree.insert(path, entry);
        }
    }
    tree
}

/// Makes three trees that begin alike more often than not: most of a copy does not change.
fn three() -> impl Strategy<Value = [BTreeMap<PathBuf, Entry>; 3]> {
    (tree(), tree(), tree(), any::<[bool; 2]>()).prop_map(|(was, now, ours, fresh)| {
        let now = if fresh[0] { now } else { both(was.clone(), now) };
        let ours = if fresh[1] { ours } else { was.clone() };
        [was, now, ours]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_is_taken_harms_nobody_and_nothing_is_kept_silent_about([was, now, ours] in three(), overwrite: bool) {
        let (was, now) = (Manifest { paths: was }, Manifest { paths: now });
        let mut ours = Ours(ours);
        let judged = changes(&was, &now, &mut ours, true);
        let taken: Vec<_> = judged.iter().filter(|one| one.change.may_be_taken(overwrite)).collect();
        let mut then = Ours(ours.0.clone());
        for one in &taken {
            let path = &one.change.path;
            prop_assert!(path.iter().all(|name| !repository::is_git(name.as_bytes())), "{}", path.display());
            if let Some(Entry::Link(target)) = &one.after {
                let target = target.to_str().unwrap();
                prop_assert!(!target.starts_with('/') && !target.contains(".git"));
                // Going up is allowed only at the beginning, and not past the project.
                let ups = target.split('/').take_while(|part| *part == "..").count();
                prop_assert_eq!(target.matches("..").count(), ups);
                prop_assert!(ups < path.iter().count());
            }
            if !overwrite {
                let before = ours.0.get(path);
                let is_as_it_was = before == was.paths.get(path) || before.is_none() || ours.is_blocked(path);
                prop_assert!(is_as_it_was, "{} is overwritten", path.display());
            }
            match &one.after {
                Some(Entry::Special | Entry::TooDeep) => prop_assert!(false, "{}", path.display()),
                Some(entry) => drop(then.0.insert(path.clone(), entry.clone())),
                None => drop(then.0.remove(path)),
            }
        }
        for one in taken.iter().filter(|one| one.change.what != What::Deleted) {
            let path = &one.change.path;
            prop_assert!(!then.is_blocked(path), "{} goes through something", path.display());
            for folder in path.ancestors().skip(1) {
                prop_assert!(!then.parts(folder).make_repository(), "{} is a repository", folder.display());
            }
        }
        for (path, entry) in &now.paths {
            let is_new = !was.paths.contains_key(path) && *entry != Entry::Folder;
            if is_new && ours.here(path) == Here::Nothing {
                prop_assert!(judged.iter().any(|one| one.change.path == *path), "{} is not told", path.display());
            }
        }
    }
}
