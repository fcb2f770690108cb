//! Lists a tree with a few descriptors, up to a limit.

use super::folder::Folder;
use super::meta::{Kind, Meta};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much of a tree is listed before the walk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries.
    pub entries: u64,
    /// How many bytes in all of their paths together.
    pub names: u64,
    /// The longest path of a folder that the walk enters, in bytes.
    pub path: usize,
    /// How many names in the path of a folder that the walk enters.
    pub depth: usize,
}

impl Default for Limits {
    /// Allows ten times as much as the largest projects have, paths as long as system calls accept with room
    /// for one more name, and more levels than anything that people work with.
    fn default() -> Self {
        Self { entries: 500_000, names: 128 << 20, path: 4096 - 257, depth: 255 }
    }
}

impl Limits {
    /// No limits except the system's.
    pub const NONE: Self = Self { entries: u64::MAX, names: u64::MAX, path: usize::MAX, depth: usize::MAX };
}

/// Something that the walk found.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Its parent folder.
    pub folder: &'a Folder,
    /// Its name in that folder.
    pub name: &'a OsStr,
    /// Its path, relative to the start of the walk.
    pub path: &'a Path,
    /// The path of its parent folder.
    pub above: &'a Path,
    /// Its metadata.
    pub meta: Meta,
    /// Whether it is a folder that is too deep to enter.
    pub is_too_deep: bool,
}

/// Calls `visit` for everything below a folder, and for a folder before its contents. The walk enters those
/// folders for which `visit` returns true. It omits what disappears meanwhile, and uses three descriptors at
/// a time.
///
/// # Errors
/// Returns an error if something cannot be read, if there is more than the limits allow, or if `visit`
/// returns one.
pub fn walk(root: &Folder, limits: &Limits, visit: impl FnMut(&Seen) -> Result<bool>) -> Result<()> {
    walk_on(root, limits, visit, |_| Ok(false))
}

/// Walks like [`walk`], and calls `go_on` for each path that this user may not read. If it returns true, the
/// path is omitted.
///
/// # Errors
/// Returns an error as for [`walk`].
pub fn walk_on(
    root: &Folder,
    limits: &Limits,
    visit: impl FnMut(&Seen) -> Result<bool>,
    go_on: impl FnMut(&Path) -> Result<bool>,
) -> Result<()> {
    let walk = Walk::new(root, limits);
    let mut visitor = Calls { visit, go_on };
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((above, depth)) = folders.pop() {
        walk.folder(&above, depth, &mut visitor, &mut folders)?;
    }
    Ok(())
}

/// Visits what a walk finds.
pub trait Visitor {
    /// Visits something, and returns whether it is a folder to enter.
    ///
    /// # Errors
    /// An error ends the walk.
    fn visit(&mut self, seen: &Seen) -> Result<bool>;

    /// Returns whether to omit a path that this user may not read.
    ///
    /// # Errors
    /// An error ends the walk.
    fn go_on(&mut self, path: &Path) -> Result<bool>;
}

struct Calls<V, G> {
    visit: V,
    go_on: G,
}

impl<V: FnMut(&Seen) -> Result<bool>, G: FnMut(&Path) -> Result<bool>> Visitor for Calls<V, G> {
    fn visit(&mut self, seen: &Seen) -> Result<bool> {
        (self.visit)(seen)
    }

    fn go_on(&mut self, path: &Path) -> Result<bool> {
        (self.go_on)(path)
    }
}

/// Walks like [`walk_on`], with a thread for each visitor. What is in one folder is visited by one of them, without a
/// break. Returns the visitors.
///
/// # Errors
/// Returns an error as for [`walk`].
pub fn walk_together<V: Visitor + Send>(root: &Folder, limits: &Limits, visitors: Vec<V>) -> Result<Vec<V>> {
    let walk = Walk::new(root, limits);
    let queue = Queue::default();
    thread::scope(|scope| {
        let mut visitors = visitors.into_iter();
        let own = visitors.next();
        let others: Vec<_> = visitors.map(|visitor| scope.spawn(|| queue.work(&walk, visitor))).collect();
        let own = own.map(|visitor| queue.work(&walk, visitor));
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        own.into_iter().chain(others).collect()
    })
}

/// The folders that several threads walk together.
struct Queue {
    left: Mutex<Left>,
    changed: Condvar,
}

struct Left {
    /// The folders that nobody has begun.
    waiting: Vec<(PathBuf, usize)>,
    /// How many nobody has finished.
    unfinished: usize,
    has_failed: bool,
}

impl Default for Queue {
    fn default() -> Self {
        let left = Left { waiting: vec![(PathBuf::new(), 0)], unfinished: 1, has_failed: false };
        Self { left: Mutex::new(left), changed: Condvar::new() }
    }
}

impl Queue {
    fn work<V: Visitor>(&self, walk: &Walk, mut visitor: V) -> Result<V> {
        let failing = Failing(self);
        let mut inside = Vec::new();
        while let Some((above, depth)) = self.next() {
            walk.folder(&above, depth, &mut visitor, &mut inside)?;
            let mut left = self.left();
            left.unfinished += inside.len();
            left.unfinished -= 1;
            left.waiting.append(&mut inside);
            drop(left);
            self.changed.notify_all();
        }
        std::mem::forget(failing);
        Ok(visitor)
    }

    /// Waits for a folder. Returns `None` once all are finished, or one has failed.
    fn next(&self) -> Option<(PathBuf, usize)> {
        let mut left = self.left();
        while left.unfinished > 0 && !left.has_failed {
            if let Some(folder) = left.waiting.pop() {
                return Some(folder);
            }
            left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the walk of all threads when one of them fails: its folder is never finished.
struct Failing<'q>(&'q Queue);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.left().has_failed = true;
        self.0.changed.notify_all();
    }
}

/// A walk, and how much it has found.
struct Walk<'a> {
    root: &'a Folder,
    limits: &'a Limits,
    entries: AtomicU64,
    names: AtomicU64,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Folder, limits: &'a Limits) -> Self {
        Self { root, limits, entries: AtomicU64::new(0), names: AtomicU64::new(0) }
    }

    /// Visits everything in one folder, and adds the folders in it that are to be entered.
    fn folder(
        &self,
        above: &Path,
        depth: usize,
        visitor: &mut impl Visitor,
        folders: &mut Vec<(PathBuf, usize)>,
    ) -> Result<()> {
        let limits = self.limits;
        let what = || above.display().to_string();
        let opened = there(self.root.folder_at(above))
            .and_then(|folder| folder.map(|folder| Ok((folder.names()?, folder))).transpose());
        let (names_in, folder) = match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && visitor.go_on(above)? => {
                return Ok(());
            }
            opened => match opened.with_context(what)? {
                Some(opened) => opened,
                None => return Ok(()),
            },
        };
        for name in names_in {
            let name = name.with_context(what)?;
            let path = above.join(&name);
            let len = path.as_os_str().len() as u64;
            let entries = self.entries.fetch_add(1, Relaxed) + 1;
            let names = self.names.fetch_add(len, Relaxed).saturating_add(len);
            if entries > limits.entries || names > limits.names {
                bail!(
                    "there are more than {} paths, or their names are too long to keep in memory",
                    limits.entries
                );
            }
            let meta = match there(folder.meta(&name)) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && visitor.go_on(&path)? => {
                    continue;
                }
                meta => meta.with_context(|| path.display().to_string())?,
            };
            let Some(meta) = meta else { continue };
            let is_long = path.as_os_str().len() > limits.path || depth >= limits.depth;
            let is_too_deep = meta.kind == Kind::Folder && is_long;
            let seen = Seen { folder: &folder, name: &name, path: &path, above, meta, is_too_deep };
            if visitor.visit(&seen)? && meta.kind == Kind::Folder && !is_too_deep {
                folders.push((path, depth + 1));
            }
        }
        Ok(())
    }
}

/// Returns `None` for something that was there a moment ago, and is now gone or something else.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}
