//! Lists a guest's copy, with a few threads. No link is followed.

use super::stamps::Stamp;
use super::tree::{Entry, Manifest, limits};
use crate::beneath::{Folder, Kind, Seen, Visitor, walk_together};
use anyhow::{Context, Result, bail};
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// The most threads that list a copy. More only wait for each other in the kernel.
const THREADS: usize = 4;

/// A copy as it is.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its paths.
    pub manifest: Manifest,
    /// The stamps of its files, in the same order.
    stamps: Vec<Stamp>,
    /// The paths that were left out, in no particular order.
    pub left: Vec<PathBuf>,
}

impl Listing {
    /// Lists a folder. Whatever disappears meanwhile is left out. So is a path for which `leave` returns true, with
    /// everything below it; `leave` gets the path, and whether it is a folder.
    pub fn of(folder: &Folder, leave: impl Fn(&Path, bool) -> bool + Sync) -> Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let targets = AtomicU64::new(0);
        let lister = || Lister {
            leave: &leave,
            targets: &targets,
            folders: HashMap::new(),
            inside: (PathBuf::new(), Vec::new()),
            left: Vec::new(),
            unreadable: Vec::new(),
        };
        let listers = walk_together(folder, &limits(), (0..threads).map(|_| lister()).collect())?;
        Ok(Self::put_together(listers.into_iter().map(Lister::finish).collect()))
    }

    /// Returns the files, in the order of their paths, with their stamps.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, Stamp)> {
        self.manifest.files().zip(self.stamps.iter().copied())
    }

    /// Puts together what several threads found, in the order of paths: what is in a folder comes right after it.
    fn put_together(parts: Vec<Part>) -> Self {
        let mut listing = Self::default();
        let mut folders = HashMap::new();
        let mut unreadable = HashSet::new();
        for part in parts {
            folders.extend(part.folders);
            listing.left.extend(part.left);
            unreadable.extend(part.unreadable);
        }
        let mut paths = Vec::with_capacity(folders.values().map(Vec::len).sum());
        let mut open: Vec<std::vec::IntoIter<Found>> = Vec::new();
        open.extend(folders.remove(Path::new("")).map(Vec::into_iter));
        while let Some(folder) = open.last_mut() {
            let Some(Found { path, entry, stamp }) = folder.next() else {
                open.pop();
                continue;
            };
            // A folder that cannot be read was found before that was known.
            let entry = if unreadable.remove(&path) { Entry::Unreadable } else { entry };
            match entry {
                Entry::Folder => open.extend(folders.remove(&path).map(Vec::into_iter)),
                Entry::File { .. } => listing.stamps.push(stamp),
                _ => {}
            }
            paths.push((path, entry));
        }
        listing.manifest.paths = paths.into_iter().collect();
        listing.manifest.paths.extend(unreadable.into_iter().map(|path| (path, Entry::Unreadable)));
        listing
    }
}

/// Something that one thread found.
struct Found {
    path: PathBuf,
    entry: Entry,
    stamp: Stamp,
}

/// What one thread found.
struct Part {
    folders: HashMap<PathBuf, Vec<Found>>,
    left: Vec<PathBuf>,
    unreadable: Vec<PathBuf>,
}

/// Lists what one thread finds.
struct Lister<'a, L> {
    leave: &'a L,
    /// How many bytes the targets of links have, for all threads.
    targets: &'a AtomicU64,
    folders: HashMap<PathBuf, Vec<Found>>,
    /// The folder that the walk is in, and what is in it.
    inside: (PathBuf, Vec<Found>),
    left: Vec<PathBuf>,
    unreadable: Vec<PathBuf>,
}

impl<L: Fn(&Path, bool) -> bool + Sync> Visitor for Lister<'_, L> {
    fn visit(&mut self, seen: &Seen) -> Result<bool> {
        if (self.leave)(seen.path, seen.meta.kind == Kind::Folder) {
            self.left.push(seen.path.to_owned());
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
            let len = target.as_os_str().len() as u64;
            if self.targets.fetch_add(len, Relaxed) + len > limits().names {
                bail!("the targets of its links are too long to keep in memory");
            }
        }
        let is_folder = entry == Entry::Folder;
        if self.inside.0.as_os_str() != seen.above.as_os_str() {
            self.leave_folder();
            seen.above.clone_into(&mut self.inside.0);
        }
        self.inside.1.push(Found { path: seen.path.to_owned(), entry, stamp: Stamp::of(&seen.meta) });
        Ok(is_folder)
    }

    fn go_on(&mut self, path: &Path) -> Result<bool> {
        self.unreadable.push(path.to_owned());
        Ok(!path.as_os_str().is_empty())
    }
}

impl<L> Lister<'_, L> {
    fn leave_folder(&mut self) {
        let (path, mut found) = std::mem::take(&mut self.inside);
        // All of them are the same as far as the name, so bytes are in the order of paths.
        found.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        // A guest can move a folder within a moment, so that a name is listed twice.
        found.dedup_by(|a, b| a.path.as_os_str() == b.path.as_os_str());
        if !found.is_empty() {
            self.folders.insert(path, found);
        }
    }

    fn finish(mut self) -> Part {
        self.leave_folder();
        Part { folders: self.folders, left: self.left, unreadable: self.unreadable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beneath;
    use std::fs;

    #[test]
    fn each_file_is_listed_in_its_place_with_its_own_stamp() {
        let dir = tempfile::tempdir().unwrap();
        // As bytes, `a.b` comes before what is in `a`.
        for path in ["a/x", "a/c/z", "a.b", "a-", "b/x", "left/out", "z"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let folder = beneath::open(dir.path()).unwrap();
        let listing = Listing::of(&folder, |path, _| path == Path::new("left")).unwrap();
        let files: Vec<_> = listing.files().map(|(path, stamp)| (path.to_str().unwrap(), stamp)).collect();
        let names: Vec<_> = files.iter().map(|(path, _)| *path).collect();
        assert_eq!(names, ["a/c/z", "a/x", "a-", "a.b", "b/x", "z"]);
        for (path, stamp) in files {
            let (above, name) = folder.above(Path::new(path)).unwrap();
            assert_eq!(stamp, Stamp::of(&above.meta(name).unwrap()), "{path}");
        }
        assert_eq!((listing.left, listing.manifest.paths.len()), (vec![PathBuf::from("left")], 9));
    }
}
