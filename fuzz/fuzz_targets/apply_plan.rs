//! Trust boundary: what a guest left in its copy of the project, as a listing.
//! Property: what may be taken back is never a name for git, never in a folder that git takes for a
//! repository, never behind a link of the project, never a link that leads out; and no change is lost.
#![no_main]

use arbitrary::Arbitrary;
use bottle_host::workspace::decide::{self, Here, Project};
use bottle_host::workspace::tree::{Entry, Manifest};
use bottle_core::git::repository::{self, Parts};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Arbitrary, Debug)]
enum Thing {
    Folder,
    File { mode: u16, len: u8 },
    Link(String),
    Special,
}

#[derive(Arbitrary, Debug)]
struct Copy {
    was: Vec<(Vec<u8>, Thing)>,
    now: Vec<(Vec<u8>, Thing)>,
    ours: Vec<(Vec<u8>, Thing)>,
}

/// Names that are likely to be dangerous, and any others.
fn path(choices: &[u8]) -> PathBuf {
    const NAMES: [&str; 10] = ["a", "b", ".git", "HEAD", "objects", "refs", "commondir", ".GIT ", "git~1", ".gitmodules"];
    choices.iter().take(6).map(|choice| NAMES[usize::from(*choice) % NAMES.len()]).collect()
}

/// A tree: whatever has something below it is a folder.
fn tree(things: &[(Vec<u8>, Thing)]) -> BTreeMap<PathBuf, Entry> {
    let mut tree = BTreeMap::new();
    for (choices, thing) in things {
        let path = path(choices);
        if path.as_os_str().is_empty() {
            continue;
        }
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            tree.insert(above.to_owned(), Entry::Folder);
        }
        let entry = match thing {
            Thing::Folder => Entry::Folder,
            Thing::File { mode, len } => {
                Entry::File { mode: u32::from(*mode) & 0o777, len: u64::from(*len), changed: 0 }
            }
            Thing::Link(target) => Entry::Link(target.replace('\0', "/").into()),
            Thing::Special => Entry::Special,
        };
        if !tree.keys().any(|known: &PathBuf| known != &path && known.starts_with(&path)) {
            tree.insert(path, entry);
        }
    }
    tree
}

struct Ours(BTreeMap<PathBuf, Entry>);

impl Project for Ours {
    fn here(&mut self, path: &Path) -> Here {
        let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        if above.into_iter().any(|above| self.0.get(above).is_some_and(|entry| *entry != Entry::Folder)) {
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

fuzz_target!(|copy: Copy| {
    let was = Manifest { paths: tree(&copy.was) };
    let now = Manifest { paths: tree(&copy.now) };
    let mut ours = Ours(tree(&copy.ours));
    let judged = decide::changes(&was, &now, &mut ours, true);
    // What would be there, if all of it were taken.
    let mut then = ours.0.clone();
    for one in judged.iter().filter(|one| one.change.may_be_taken(true)) {
        let path = &one.change.path;
        assert!(path.iter().all(|name| !repository::is_git(name.as_bytes())), "{}", path.display());
        assert!(!matches!(one.after, Some(Entry::Special | Entry::TooDeep)));
        if let Some(Entry::Link(target)) = &one.after {
            assert!(target.is_relative() && bottle_guest::archive::stays_inside(path, target, 0));
        }
        if let Some(Entry::File { mode, .. }) = &one.after {
            let ours = match &one.here {
                Here::Is(Entry::File { mode, .. }) => *mode,
                _ => 0,
            };
            assert_eq!(mode & !(0o755 | ours), 0);
        }
        match &one.after {
            Some(entry) => drop(then.insert(path.clone(), entry.clone())),
            None => drop(then.remove(path)),
        }
    }
    // A folder is a repository then only if it was one before.
    let folders = then.keys().filter_map(|path| path.parent()).map(Path::to_owned).collect::<Vec<_>>();
    for folder in folders {
        // The folder itself may go: one that is not empty stays.
        let below = |path: &Path| path != folder && path.starts_with(&folder);
        let changed = judged.iter().any(|one| one.change.may_be_taken(true) && below(&one.change.path));
        if Ours(then.clone()).parts(&folder).make_repository() {
            assert!(ours.parts(&folder).make_repository() && !changed, "{}", folder.display());
        }
    }
    // Nothing that the guest added is kept silent about.
    for (path, entry) in &now.paths {
        let is_new = !was.paths.contains_key(path) && !matches!(entry, Entry::Folder);
        if is_new && ours.here(path) == Here::Nothing {
            assert!(judged.iter().any(|one| one.change.path == *path), "{}", path.display());
        }
    }
});
