//! Copies a project. One thread walks it and makes the folders, and a few others copy the files meanwhile.
//!
//! No link is followed: each file is opened in its folder, by name.

use super::exclude::{Exclude, Why};
use super::snapshot;
use super::stamps::{Same, Stamp, Stamps};
use super::tree::{Entry, Manifest, STAGE, limits};
use crate::beneath::{Folder, Kind, MODE, Meta, Seen, moment, set_mode, walk_on};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many files may wait for a thread. Each may hold two descriptors.
const WAITING: usize = 64;
/// The most threads that copy files. More only wait for the disk.
const THREADS: usize = 4;

/// Paths that were not copied, or not copied unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Paths that a list of patterns excludes.
    pub listed: Vec<PathBuf>,
    /// Files like `.env`.
    pub secret: Vec<PathBuf>,
    /// Devices, sockets and pipes.
    pub special: Vec<PathBuf>,
    /// Paths that this user may not read.
    pub unreadable: Vec<PathBuf>,
    /// Folders that are nested too deeply.
    pub deep: Vec<PathBuf>,
    /// Files that were copied without the bit that gives a program somebody else's rights.
    pub privileged: Vec<PathBuf>,
}

/// A folder's contents in an empty one.
#[derive(Debug, Default)]
pub struct Duplicate {
    /// What was copied.
    pub copied: Manifest,
    /// The files of the copy, as they are now.
    pub stamps: Stamps,
    /// What was not.
    pub omitted: Omitted,
}

/// Copies a folder's contents into an empty one.
///
/// # Errors
/// Returns an error if something can be neither copied nor omitted. What was copied until then remains.
pub fn copy(from: &Folder, to: &Folder, exclude: &Exclude) -> Result<Duplicate> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let (files, queue) = sync_channel(WAITING);
    let copier = Copier { queue: Mutex::new(queue), has_failed: AtomicBool::new(false) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| copier.work())).collect();
        let walked = Walker::new(to, exclude, files, &copier.has_failed).walk(from);
        let mut done = Duplicate::default();
        let mut failed = None;
        for worker in workers {
            match worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(more) => done.add(more),
                Err(error) => failed = Some(error),
            }
        }
        // Where a file failed, the walk ended because of it.
        failed.map_or(Ok(()), Err)?;
        done.add(walked?);
        Ok(done)
    })
}

impl Duplicate {
    fn add(&mut self, more: Self) {
        self.copied.paths.extend(more.copied.paths);
        self.stamps.extend(more.stamps);
        let Omitted { listed, secret, special, unreadable, deep, privileged } = more.omitted;
        self.omitted.listed.extend(listed);
        self.omitted.secret.extend(secret);
        self.omitted.special.extend(special);
        self.omitted.unreadable.extend(unreadable);
        self.omitted.deep.extend(deep);
        self.omitted.privileged.extend(privileged);
    }
}

/// A folder of the project, and its copy.
struct Pair {
    from: Folder,
    to: Folder,
}

/// A file that is to be copied.
struct Waiting {
    folder: Arc<Pair>,
    name: OsString,
    path: PathBuf,
    is_privileged: bool,
}

/// Copies files that wait.
struct Copier {
    queue: Mutex<Receiver<Waiting>>,
    has_failed: AtomicBool,
}

impl Copier {
    /// Copies files until there will be no more.
    fn work(&self) -> Result<Duplicate> {
        let mut done = Duplicate::default();
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Waiting { folder, name, path, is_privileged }) = next else { return Ok(done) };
            match copy_file(&folder.from, &folder.to, &name) {
                Err(error)
                    if error.kind() == ErrorKind::PermissionDenied && folder.to.meta(&name).is_err() =>
                {
                    done.omitted.unreadable.push(path);
                }
                // Like the walk, this omits what disappears meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound && is_gone(&folder.from, &name) => {}
                Err(error) => {
                    self.has_failed.store(true, Relaxed);
                    return Err(error).with_context(|| path.display().to_string());
                }
                Ok((entry, same)) => {
                    done.stamps.note(path.clone(), same);
                    if is_privileged {
                        done.omitted.privileged.push(path.clone());
                    }
                    done.copied.paths.insert(path, entry);
                }
            }
        }
    }
}

/// Walks the project.
struct Walker<'a> {
    to: &'a Folder,
    exclude: &'a Exclude,
    files: SyncSender<Waiting>,
    has_failed: &'a AtomicBool,
    /// The folder that the walk is in, by its path.
    inside: Option<(PathBuf, Arc<Pair>)>,
    done: Duplicate,
}

impl<'a> Walker<'a> {
    fn new(
        to: &'a Folder,
        exclude: &'a Exclude,
        files: SyncSender<Waiting>,
        has_failed: &'a AtomicBool,
    ) -> Self {
        Self { to, exclude, files, has_failed, inside: None, done: Duplicate::default() }
    }

    fn walk(mut self, from: &Folder) -> Result<Duplicate> {
        let mut closed = Vec::new();
        walk_on(
            from,
            &limits(),
            |seen| self.visit(seen),
            |path| {
                closed.push(path.to_owned());
                Ok(!path.as_os_str().is_empty())
            },
        )?;
        for path in closed {
            // A folder was created before it turned out to be unreadable.
            if self.done.copied.paths.remove(&path).is_some() {
                let (above, name) = self.to.above(&path)?;
                above.remove_folder(name)?;
            }
            self.done.omitted.unreadable.push(path);
        }
        Ok(self.done)
    }

    /// Copies what the walk found, or sends it to the threads that copy files. Returns whether it is a folder
    /// to enter.
    fn visit(&mut self, seen: &Seen) -> Result<bool> {
        if self.has_failed.load(Relaxed) {
            bail!("a file cannot be copied");
        }
        let what = || seen.path.display().to_string();
        let is_folder = seen.meta.kind == Kind::Folder;
        match self.exclude.why(seen.path, is_folder) {
            // A folder is not a secret, even if it has a secret's name.
            Some(Why::Secret) if !is_folder => {
                self.done.omitted.secret.push(seen.path.to_owned());
                return Ok(false);
            }
            Some(Why::Listed) => {
                self.done.omitted.listed.push(seen.path.to_owned());
                return Ok(false);
            }
            _ => {}
        }
        if is_folder && seen.path.components().count() == 1 && seen.name.as_bytes().starts_with(STAGE) {
            return Ok(false);
        }
        if seen.is_too_deep {
            self.done.omitted.deep.push(seen.path.to_owned());
            return Ok(false);
        }
        if seen.meta.kind == Kind::Special {
            self.done.omitted.special.push(seen.path.to_owned());
            return Ok(false);
        }
        let folder = self.inside(seen).with_context(what)?;
        if seen.meta.kind == Kind::File {
            let (name, path) = (seen.name.to_owned(), seen.path.to_owned());
            let waiting = Waiting { folder, name, path, is_privileged: seen.meta.is_privileged };
            self.files.send(waiting).context("nothing copies files any more")?;
            return Ok(false);
        }
        let entry = Entry::seen(seen).with_context(what)?;
        match &entry {
            Entry::Link(target) => folder.to.make_link(target, seen.name).with_context(what)?,
            _ => drop(folder.to.make_folder(seen.name, seen.meta.mode | 0o700).with_context(what)?),
        }
        if seen.meta.is_privileged {
            self.done.omitted.privileged.push(seen.path.to_owned());
        }
        self.done.copied.paths.insert(seen.path.to_owned(), entry);
        Ok(is_folder)
    }

    /// Returns the folder of what the walk found, and its copy.
    fn inside(&mut self, seen: &Seen) -> io::Result<Arc<Pair>> {
        let path = seen.path.parent().unwrap_or(Path::new(""));
        if let Some((known, pair)) = &self.inside
            && known == path
        {
            return Ok(Arc::clone(pair));
        }
        let pair = Arc::new(Pair { from: seen.folder.try_clone()?, to: self.to.folder_at(path)? });
        self.inside = Some((path.to_owned(), Arc::clone(&pair)));
        Ok(pair)
    }
}

fn is_gone(folder: &Folder, name: &OsStr) -> bool {
    folder.meta(name).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn copy_file(from: &Folder, to: &Folder, name: &OsStr) -> io::Result<(Entry, Same)> {
    let (source, meta) = from.file(name)?;
    let made = to.create(name, 0o600)?;
    snapshot::copy_with_holes(&source, meta.len, &made)?;
    // Restore the bits that the umask removed.
    set_mode(&made, meta.mode & MODE)?;
    if let Some(time) = moment(meta.changed) {
        made.set_modified(time)?;
    }
    let same = Same { theirs: Stamp::of(&Meta::of(&made)?), ours: Stamp::of(&meta) };
    Ok((Entry::file(&meta), same))
}
