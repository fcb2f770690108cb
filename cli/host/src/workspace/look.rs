//! One look at a guest's copy. The copy is read once, and exactly what was read is shown, judged and applied.

use super::attributes;
use super::changes::{Change, Kept, What};
use super::copy::Copy;
use super::decide::{self, Here, Judged, Project, Silent};
use super::exclude::{Exclude, Why};
use super::listing::Listing;
use super::snapshot::{self, Content, Snapshot, Sum, Taken};
use super::stamps::{Same, Stamp, Stamps};
use super::tree::{Entry, Manifest};
use crate::beneath::{Folder, Meta};
use crate::defence::Defence;
use anyhow::{Context, Result};
use bottle_core::git::gitmodules;
use bottle_core::git::repository::{self, Parts};
use bottle_core::visible::Bytes;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many bytes of changed files are read by default.
pub const MOST: u64 = 4 << 30;

/// What a guest changed, as it was at one moment.
#[derive(Debug)]
pub struct Look {
    pub(super) items: Vec<Item>,
    pub(super) snapshot: Snapshot,
    /// Files that only have another name now: the index of the removed item, by that of the added one.
    pub(super) renamed: HashMap<usize, usize>,
    /// How many changed files have extended attributes in the guest. Those stay there.
    pub with_attributes: usize,
    /// Whether the guest's version of paths that the person has changed, too, is taken.
    pub overwrites: bool,
}

/// One changed path, with what was read of it.
#[derive(Debug)]
pub(super) struct Item {
    pub change: Change,
    pub after: Option<Entry>,
    pub here: Here,
    /// The content of a file, if it was read.
    pub content: Option<Content>,
}

/// Identifies what a look saw, in 160 bits. Whoever writes the guest's files can choose both states, and must
/// not find two with the same digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err("a digest has 40 hexadecimal digits; `bottle diff` prints it")
        }
    }
}

impl Copy {
    /// Looks at what the guest changed, at and below these paths, or everywhere. It reads at most `most`
    /// bytes of files.
    ///
    /// # Errors
    /// Returns an error if one of the two folders cannot be read, or if there is no space for what is read.
    pub fn look(&self, paths: &[PathBuf], most: u64) -> Result<Look> {
        let (ours, theirs) = (self.ours()?, self.theirs()?);
        let mut snapshot = Snapshot::new(self.private())?;
        let mut left = if Defence::TreeLimits.stands() { most } else { u64::MAX };
        let mut items = Vec::new();
        let mut with_attributes = 0;
        for judged in judge(self, &ours, &theirs, paths)? {
            let path = &judged.change.path;
            // A wanted path also needs the folder that makes room for it.
            let makes_room = judged.after == Some(Entry::Folder) && judged.change.what != What::Deleted;
            let needs_it = makes_room && paths.iter().any(|wanted| wanted.starts_with(path));
            if !is_wanted(path, paths) && !needs_it {
                continue;
            }
            let mut item =
                Item { change: judged.change, after: judged.after, here: judged.here, content: None };
            if item.change.may_be_taken(true) && matches!(item.after, Some(Entry::File { .. })) {
                match item.read(&ours, &theirs, &mut snapshot, left) {
                    Ok(Read::Is(content, has_attributes)) => {
                        left -= content.len;
                        item.content = Some(content);
                        with_attributes += usize::from(has_attributes);
                    }
                    Ok(Read::Same) => continue,
                    Ok(Read::TooMuch) => item.change.kept = Some(Kept::TooLarge),
                    Err(error) if is_disk(&error) => {
                        return Err(error).context("there is no space on disk for the guest's changes");
                    }
                    Err(_) => item.change.kept = Some(Kept::Unsteady),
                }
                item.judge_content(&snapshot)?;
            }
            items.push(item);
        }
        let renamed = renamed(&ours, &items);
        Ok(Look { items, snapshot, renamed, with_attributes, overwrites: false })
    }

    /// Returns how many paths a look would show. It reads a file only if nothing else shows whether it
    /// changed.
    pub(super) fn count(&self) -> Result<usize> {
        let (ours, theirs) = (self.ours()?, self.theirs()?);
        let mut snapshot = Snapshot::new(self.private())?;
        let mut left = MOST;
        let mut count = 0;
        for judged in judge(self, &ours, &theirs, &[])? {
            // Excluded paths come from a build, and can be built again.
            if judged.change.kept == Some(Kept::Excluded) {
                continue;
            }
            let lens = (&judged.after, &judged.here);
            let might_be_same = matches!(
                lens,
                (Some(Entry::File { mode, len, .. }), Here::Is(Entry::File { mode: our_mode, len: our_len, .. }))
                    if mode == our_mode && len == our_len && *len <= left
            );
            let item = Item { change: judged.change, after: judged.after, here: judged.here, content: None };
            if might_be_same {
                let read = item.read(&ours, &theirs, &mut snapshot, left);
                if let Ok(Read::Is(content, _)) = &read {
                    left -= content.len;
                }
                snapshot.forget()?;
                count += usize::from(!matches!(read, Ok(Read::Same)));
            } else {
                count += 1;
            }
        }
        Ok(count)
    }
}

impl Copy {
    /// Returns whether the project, the guest's copy, or what was copied has something at a path.
    ///
    /// # Errors
    /// Returns an error if one of the two folders cannot be opened.
    pub fn knows(&self, path: &Path) -> Result<bool> {
        let is_there = |root: &Folder| path.as_os_str().is_empty() || matches!(here(root, path), Here::Is(_));
        let was = self.record.manifest.paths.contains_key(path);
        Ok(was || is_there(&self.theirs()?) || is_there(&self.ours()?))
    }
}

impl Look {
    /// Returns the changes, ordered by path.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.items.iter().map(|item| &item.change)
    }

    /// Returns the changes as a person sees them, one per line. A file that only has another name is one
    /// change.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.rows().map(|row| row.0)
    }

    /// Returns the same lines, each with its change and whether it is a rename.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, &Item, bool)> {
        let gone: HashSet<usize> = self.renamed.values().copied().collect();
        let items = self.items.iter().enumerate().filter(move |(index, _)| !gone.contains(index));
        items.map(|(index, item)| {
            let path = |item: &Item| Bytes(item.change.path.as_os_str().as_bytes()).to_string();
            let from = self.renamed.get(&index).and_then(|from| self.items.get(*from));
            match from {
                Some(from) => (format!("R {} -> {}", path(from), path(item)), item, true),
                None => (self.line(&item.change), item, false),
            }
        })
    }

    /// Returns a change as one line, with what becomes of it.
    pub(super) fn line(&self, change: &Change) -> String {
        if self.overwrites && change.kept == Some(Kept::Conflict) {
            let taken = Change { kept: None, ..change.clone() };
            return format!("{taken}  (you changed it, too; the guest's version takes its place)");
        }
        change.to_string()
    }

    /// Identifies everything in this state that may be applied, and everything that it would overwrite.
    /// Changes that stay in the guest in any case do not count.
    pub fn digest(&self) -> Digest {
        digest(self.items.iter())
    }

    /// Identifies the same of each path alone, in the order of [`Look::changes`].
    pub fn digests(&self) -> impl Iterator<Item = (&Change, Digest)> {
        self.items.iter().map(|item| (&item.change, digest([item].into_iter())))
    }

    /// Returns whether a change only makes room: it adds a folder.
    pub fn makes_room(&self, change: &Change) -> bool {
        let is_it = |item: &&Item| item.change == *change;
        change.what != What::Deleted
            && self.items.iter().find(is_it).is_some_and(|item| item.after == Some(Entry::Folder))
    }
}

fn digest<'i>(items: impl Iterator<Item = &'i Item>) -> Digest {
    let mut sum = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_be_bytes());
        sum.update(bytes);
    };
    for item in items.filter(|item| item.change.may_be_taken(true)) {
        part(item.change.path.as_os_str().as_bytes());
        part(&[item.change.what.letter() as u8, u8::from(item.change.kept.is_some())]);
        match (&item.after, &item.content) {
            (None, _) => part(b"gone"),
            (Some(Entry::Link(target)), _) => {
                part(b"link");
                part(target.as_os_str().as_bytes());
            }
            (Some(Entry::File { mode, .. }), Some(content)) => {
                part(b"file");
                part(&mode.to_be_bytes());
                part(&content.sum);
            }
            (Some(_), _) => part(b"folder"),
        }
    }
    let sum: [u8; 32] = sum.finalize().into();
    Digest(sum[..20].iter().map(|byte| format!("{byte:02x}")).collect())
}

fn judge(copy: &Copy, ours: &Folder, theirs: &Folder, wanted: &[PathBuf]) -> Result<Vec<Judged>> {
    let exclude =
        copy.record.exclude.as_ref().map(Exclude::new).transpose()?.unwrap_or_else(Exclude::nothing);
    // Naming an excluded path, or something in it, includes it.
    let named: Vec<&PathBuf> = wanted.iter().filter(|wanted| exclude.holds(wanted)).collect();
    let was = &copy.record.manifest;
    let leave = |path: &Path, is_folder: bool| {
        let is_excluded = match exclude.why(path, is_folder) {
            Some(Why::Secret) => !is_folder,
            Some(Why::Listed) => true,
            None => false,
        };
        is_excluded
            && !was.paths.contains_key(path)
            && !named.iter().any(|named| named.starts_with(path) || path.starts_with(named))
    };
    let now = Listing::of(theirs, leave).with_context(|| {
        let slug = copy.folder.slug();
        format!("cannot list the copy of {slug}'s guest (`bottle rm --force {slug}` discards it)")
    })?;
    let mut stamps = Stamps::read(&copy.folder, was);
    let unknown = unknown(was, &now, &stamps, wanted);
    let silent = silent(copy, ours, theirs, unknown, &mut stamps);
    let Listing { manifest: now, left: excluded, .. } = now;
    let mut project = OnDisk(ours);
    let mut judged = decide::changes(was, &now, &silent, &mut project, Defence::GitNames.stands());
    if !excluded.is_empty() {
        judged.extend(excluded.into_iter().map(|path| Judged {
            change: Change { path, what: What::Added, kept: Some(Kept::Excluded) },
            after: None,
            here: Here::Nothing,
        }));
        judged.sort_by(|a, b| a.change.path.cmp(&b.change.path));
    }
    Ok(judged)
}

/// Returns whether a path is one of these or below one, or all are wanted.
fn is_wanted(path: &Path, wanted: &[PathBuf]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| path.starts_with(wanted))
}

/// Returns the files that look as they were copied, but have another stamp, each with the one that is known.
fn unknown(
    was: &Manifest,
    now: &Listing,
    stamps: &Stamps,
    wanted: &[PathBuf],
) -> Vec<(PathBuf, Option<Same>)> {
    // Comparing bytes is faster than comparing parts.
    let is_it = |was: &Path, path: &Path| was.as_os_str() == path.as_os_str();
    let mut known = stamps.of_each(was).peekable();
    let mut unknown = Vec::new();
    for (path, stamp) in now.files() {
        // Both are in the same order, so that nothing has to be looked up.
        let mut same = known.next_if(|(was, _)| is_it(was, path));
        if same.is_none() {
            while known.next_if(|(was, _)| *was < path).is_some() {}
            same = known.next_if(|(was, _)| is_it(was, path));
        }
        let same = same.and_then(|(_, same)| same);
        let is_known = same.is_some_and(|same| same.theirs == stamp);
        if !is_known && is_wanted(path, wanted) && was.paths.get(path) == now.manifest.paths.get(path) {
            unknown.push((path.clone(), same));
        }
    }
    unknown
}

/// Returns the files whose content changed although nothing else shows it, among these that look as they were copied.
/// A file that looks different in the project is not one of them: the person changed it. What is the same is noted.
fn silent(
    copy: &Copy,
    ours: &Folder,
    theirs: &Folder,
    files: Vec<(PathBuf, Option<Same>)>,
    stamps: &mut Stamps,
) -> HashMap<PathBuf, Silent> {
    let was = &copy.record.manifest.paths;
    let mut silent = HashMap::new();
    let mut has_noted = false;
    for (path, known) in files {
        let ours = match here(ours, &path) {
            Here::Is(here) if was.get(&path) == Some(&here) => open_file(ours, &path),
            _ => continue,
        };
        let Ok((ours, meta)) = ours else { continue };
        let ours_now = Stamp::of(&meta);
        let same = open_file(theirs, &path).and_then(|(theirs, before)| {
            let is_same = snapshot::is_same(&theirs, &ours)? && Meta::of(&theirs)? == before;
            Ok(is_same.then(|| Stamp::of(&before)))
        });
        match same {
            Ok(Some(stamp)) => {
                stamps.note(path, Same { theirs: stamp, ours: ours_now });
                has_noted = true;
            }
            // What cannot be read has changed, as far as anybody knows.
            Ok(None) | Err(_) => {
                let is_ours_known = known.is_some_and(|same| same.ours == ours_now);
                silent.insert(path, if is_ours_known { Silent::Guest } else { Silent::Either });
            }
        }
    }
    if has_noted {
        // Without them, the next look compares the same files again.
        let _ = stamps.write(&copy.folder, &copy.record.manifest);
    }
    silent
}

fn open_file(root: &Folder, path: &Path) -> io::Result<(File, Meta)> {
    let (above, name) = root.above(path)?;
    above.file(name)
}

enum Read {
    /// This content. The file may have extended attributes as well.
    Is(Content, bool),
    Same,
    TooMuch,
}

impl Item {
    /// Reads the file through one descriptor, so that its metadata belongs to what was read.
    fn read(&self, ours: &Folder, theirs: &Folder, to: &mut Snapshot, most: u64) -> io::Result<Read> {
        let Some(Entry::File { mode, len, .. }) = self.after else { return Err(Errno::INVAL.into()) };
        if len > most {
            return Ok(Read::TooMuch);
        }
        let (file, _) = open_file(theirs, &self.change.path)?;
        let beside = match &self.here {
            Here::Is(Entry::File { mode: our_mode, len: our_len, .. })
                if mode == *our_mode && len == *our_len =>
            {
                Some(open_file(ours, &self.change.path)?.0)
            }
            _ => None,
        };
        Ok(match to.take(&file, beside.as_ref(), most)? {
            Taken::Same => Read::Same,
            Taken::TooMuch => Read::TooMuch,
            Taken::Other(content) => Read::Is(content, attributes::has(&file).unwrap_or(false)),
        })
    }

    /// Judges what only the content shows: a `.gitmodules` that could run something.
    fn judge_content(&mut self, snapshot: &Snapshot) -> Result<()> {
        const LONGEST: u64 = 1 << 20;
        let name = self.change.path.file_name().unwrap_or_default();
        let Some(content) = &self.content else { return Ok(()) };
        if Defence::GitNames.stands() && repository::is_gitmodules(name.as_bytes()) {
            let text = String::from_utf8(snapshot.read(content, LONGEST)?);
            if content.len > LONGEST || !text.is_ok_and(|text| gitmodules::is_plain(&text)) {
                self.change.kept = Some(Kept::Gitmodules);
            }
        }
        Ok(())
    }
}

/// Finds added files with the same content as a removed one.
fn renamed(ours: &Folder, items: &[Item]) -> HashMap<usize, usize> {
    let mut gone: HashMap<u64, Vec<usize>> = HashMap::new();
    let all = || items.iter().enumerate().filter(|(_, item)| item.change.kept.is_none());
    for (index, item) in all().filter(|(_, item)| item.change.what == What::Deleted) {
        if let Here::Is(Entry::File { len: len @ 1.., .. }) = item.here {
            gone.entry(len).or_default().push(index);
        }
    }
    let mut sums: HashMap<usize, Option<[u8; 32]>> = HashMap::new();
    let mut renamed = HashMap::new();
    for (index, item) in all().filter(|(_, item)| item.change.what == What::Added) {
        let Some(content) = &item.content else { continue };
        let Some(same) = gone.get_mut(&content.len) else { continue };
        let is_it = |from: &usize| {
            *sums.entry(*from).or_insert_with(|| sum(ours, &items[*from])) == Some(content.sum)
        };
        if let Some(position) = same.iter().position(is_it) {
            renamed.insert(index, same.remove(position));
        }
    }
    renamed
}

/// Returns the sum of the project's file, if it can be read.
fn sum(ours: &Folder, item: &Item) -> Option<[u8; 32]> {
    let (file, meta) = open_file(ours, &item.change.path).ok()?;
    Sum::of_file(&file, meta.len).ok()
}

/// Returns whether this machine has run out of space, as opposed to a guest playing tricks.
fn is_disk(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG | Errno::MFILE | Errno::NFILE)
    )
}

/// The project as it is on disk.
struct OnDisk<'a>(&'a Folder);

impl Project for OnDisk<'_> {
    fn here(&mut self, path: &Path) -> Here {
        here(self.0, path)
    }

    fn parts(&mut self, folder: &Path) -> Parts {
        let mut parts = Parts::default();
        if let Ok(names) = self.0.folder_at(folder).and_then(|folder| folder.names()) {
            for name in names.flatten() {
                parts.note(name.as_bytes());
            }
        }
        parts
    }
}

/// Returns what the project has at a path.
pub(super) fn here(root: &Folder, path: &Path) -> Here {
    let found = root.above(path).and_then(|(above, name)| Entry::at(&above, name));
    match found {
        Ok(entry) => Here::Is(entry),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Here::Nothing,
        Err(_) => Here::Blocked,
    }
}
