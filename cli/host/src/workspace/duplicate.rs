//! Copies a project. One thread walks it and makes the folders, and a few others copy the files meanwhile.
//!
//! No link is followed: each file is opened in its folder, by name.

use super::exclude::{Exclude, Why};
use super::results;
use super::snapshot;
use super::stamps::{Same, Stamp, Stamps};
use super::tree::{Entry, Manifest, STAGE, limits};
use crate::beneath::{Folder, Kind, MODE, Meta, Seen, moment, set_mode, walk_on};
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many batches of files may wait for a thread. Each may hold two descriptors.
const WAITING: usize = 16;
/// How many files and bytes of one folder a thread copies without a break. Two threads that make files in one folder wait
/// for each other, and large files are better copied at the same time.
const BATCH_FILES: usize = 128;
const BATCH_BYTES: u64 = 4 << 20;
/// The most threads that copy files. More only wait for the disk.
const THREADS: usize = 4;

/// Paths that were not copied, or not copied unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Paths that a list of patterns excludes.
    pub listed: Vec<PathBuf>,
    /// Files like `.env`.
    pub secret: Vec<PathBuf>,
    /// Folders with the results of runs that have ended.
    pub results: Vec<PathBuf>,
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
#[derive(Debug)]
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
        let mut parts = Vec::new();
        let mut failed = None;
        for worker in workers {
            match worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(part) => parts.push(part),
                Err(error) => failed = Some(error),
            }
        }
        // Where a file failed, the walk ended because of it.
        failed.map_or(Ok(()), Err)?;
        parts.push(walked?);
        Ok(Duplicate::of(parts))
    })
}

impl Duplicate {
    fn of(parts: Vec<Part>) -> Self {
        let mut omitted = Omitted::default();
        let mut all = Vec::new();
        for part in parts {
            all.extend(part.copied);
            let Omitted { listed, secret, results, special, unreadable, deep, privileged } = part.omitted;
            omitted.listed.extend(listed);
            omitted.secret.extend(secret);
            omitted.results.extend(results);
            omitted.special.extend(special);
            omitted.unreadable.extend(unreadable);
            omitted.deep.extend(deep);
            omitted.privileged.extend(privileged);
        }
        // What is in one folder is in order already, which this sort makes use of.
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        all.dedup_by(|(a, ..), (b, ..)| a == b);
        let stamps = Stamps::in_order(all.iter().filter_map(|(_, _, same)| *same).collect());
        let paths = all.into_iter().map(|(path, entry, _)| (path, entry)).collect();
        Self { copied: Manifest { paths }, stamps, omitted }
    }
}

/// What one thread did.
#[derive(Debug, Default)]
struct Part {
    /// Each path, and the states of a file.
    copied: Vec<(PathBuf, Entry, Option<Same>)>,
    omitted: Omitted,
}

/// A folder of the project, and its copy.
struct Pair {
    from: Folder,
    to: Folder,
}

/// Files of one folder that are to be copied.
struct Batch {
    folder: Arc<Pair>,
    files: Vec<Waiting>,
    bytes: u64,
}

/// A file that is to be copied.
struct Waiting {
    name: OsString,
    path: PathBuf,
    is_privileged: bool,
}

/// Copies files that wait.
struct Copier {
    queue: Mutex<Receiver<Batch>>,
    has_failed: AtomicBool,
}

impl Copier {
    /// Copies files until there will be no more.
    fn work(&self) -> Result<Part> {
        let mut done = Part::default();
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Batch { folder, files, .. }) = next else { return Ok(done) };
            for file in files {
                if self.has_failed.load(Relaxed) {
                    return Ok(done);
                }
                if let Err(error) = done.copy(&folder, file) {
                    self.has_failed.store(true, Relaxed);
                    return Err(error);
                }
            }
        }
    }
}

impl Part {
    fn copy(&mut self, folder: &Pair, file: Waiting) -> Result<()> {
        let Waiting { name, path, is_privileged } = file;
        match copy_file(&folder.from, &folder.to, &name) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && folder.to.meta(&name).is_err() => {
                self.omitted.unreadable.push(path);
            }
            // Like the walk, this omits what disappears meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound && is_gone(&folder.from, &name) => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
            Ok((entry, same)) => {
                if is_privileged {
                    self.omitted.privileged.push(path.clone());
                }
                self.copied.push((path, entry, Some(same)));
            }
        }
        Ok(())
    }
}

/// Walks the project.
struct Walker<'a> {
    to: &'a Folder,
    exclude: &'a Exclude,
    files: SyncSender<Batch>,
    has_failed: &'a AtomicBool,
    /// The folder that the walk is in, by its path, and the files in it that nobody copies yet.
    inside: Option<(PathBuf, Batch)>,
    done: Part,
}

impl<'a> Walker<'a> {
    fn new(
        to: &'a Folder,
        exclude: &'a Exclude,
        files: SyncSender<Batch>,
        has_failed: &'a AtomicBool,
    ) -> Self {
        Self { to, exclude, files, has_failed, inside: None, done: Part::default() }
    }

    fn walk(mut self, from: &Folder) -> Result<Part> {
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
        self.send()?;
        // A folder was created before it turned out to be unreadable.
        let shut: HashSet<&PathBuf> = closed.iter().collect();
        let made: Vec<PathBuf> = self
            .done
            .copied
            .extract_if(.., |(path, ..)| shut.contains(path))
            .map(|(path, ..)| path)
            .collect();
        for path in made {
            let (above, name) = self.to.above(&path)?;
            above.remove_folder(name)?;
        }
        self.done.omitted.unreadable.extend(closed);
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
        let results = if is_folder { results::in_folder(seen.folder, seen.name) } else { None };
        if let Some(run) = results.filter(|_| !self.exclude.has_results(seen.path)) {
            // Nobody expects those of this very run.
            if run == results::Of::Ended {
                self.done.omitted.results.push(seen.path.to_owned());
            }
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
        let batch = self.inside(seen).with_context(what)?;
        if seen.meta.kind == Kind::File {
            let (name, path) = (seen.name.to_owned(), seen.path.to_owned());
            batch.files.push(Waiting { name, path, is_privileged: seen.meta.is_privileged });
            batch.bytes = batch.bytes.saturating_add(seen.meta.len);
            if batch.files.len() >= BATCH_FILES || batch.bytes >= BATCH_BYTES {
                self.send()?;
            }
            return Ok(false);
        }
        let folder = Arc::clone(&batch.folder);
        let entry = Entry::seen(seen).with_context(what)?;
        match &entry {
            Entry::Link(target) => folder.to.make_link(target, seen.name).with_context(what)?,
            _ => drop(folder.to.make_folder(seen.name, seen.meta.mode | 0o700).with_context(what)?),
        }
        if seen.meta.is_privileged {
            self.done.omitted.privileged.push(seen.path.to_owned());
        }
        self.done.copied.push((seen.path.to_owned(), entry, None));
        Ok(is_folder)
    }

    /// Returns the files of the same folder as what the walk found, and the folder's copy.
    fn inside(&mut self, seen: &Seen) -> Result<&mut Batch> {
        let path = seen.above;
        if self.inside.as_ref().is_none_or(|(known, _)| known.as_os_str() != path.as_os_str()) {
            self.send()?;
            let folder = Arc::new(Pair { from: seen.folder.try_clone()?, to: self.to.folder_at(path)? });
            self.inside = Some((path.to_owned(), Batch { folder, files: Vec::new(), bytes: 0 }));
        }
        self.inside.as_mut().map(|(_, batch)| batch).context("a folder")
    }

    /// Has the files that were found in a folder copied.
    fn send(&mut self) -> Result<()> {
        let Some((_, batch)) = &mut self.inside else { return Ok(()) };
        if batch.files.is_empty() {
            return Ok(());
        }
        let (mut files, bytes) = (std::mem::take(&mut batch.files), std::mem::take(&mut batch.bytes));
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let folder = Arc::clone(&batch.folder);
        self.files.send(Batch { folder, files, bytes }).context("nothing copies files any more")
    }
}

fn is_gone(folder: &Folder, name: &OsStr) -> bool {
    folder.meta(name).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn copy_file(from: &Folder, to: &Folder, name: &OsStr) -> io::Result<(Entry, Same)> {
    let (source, meta) = from.file(name)?;
    // Nobody else can enter the folder that it is in.
    let made = to.create(name, meta.mode & MODE)?;
    snapshot::copy_with_holes(&source, meta.len, &made)?;
    if let Some(time) = moment(meta.changed) {
        made.set_modified(time)?;
    }
    let mut now = Meta::of(&made)?;
    if now.mode & MODE != meta.mode & MODE {
        // Restore the bits that the umask removed.
        set_mode(&made, meta.mode & MODE)?;
        now = Meta::of(&made)?;
    }
    Ok((Entry::file(&meta), Same { theirs: Stamp::of(&now), ours: Stamp::of(&meta) }))
}
