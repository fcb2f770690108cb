//! Changes a project, all or nothing.
//!
//! Everything new is prepared in a folder beside the project's files, on the same file system: the stage.
//! Then names are exchanged, one step at a time, so that what was replaced ends up in the stage. The journal
//! in the bottle's state folder says what is going on. A process that finds the journal of a dead process
//! undoes its steps, or finishes if all of them were done.
//!
//! What is on disk tells whether a step was done. A step replaces only what was expected there. Anything else
//! is put back, and every earlier step is undone.

use super::attributes;
use super::backup::{self, Backup, Was};
use super::exact;
use super::record::Record;
use super::tree::{Entry, STAGE};
use crate::beneath::{self, Folder as Beneath, MODE, moment, set_mode};
use crate::defence::Defence;
use crate::fail_point::{self, FailPoint};
use crate::state::{Folder, parse_json, private_dir, write_private};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Gid, Uid, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// With more files than this, the whole file system is synced instead of each file.
const MANY: usize = 64;

/// What is to become of a path.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub path: PathBuf,
    /// What the project has there.
    pub before: Option<Entry>,
    /// What it should have there.
    pub after: Option<Entry>,
    /// What the copy's record says about it afterwards, if that is not `after`.
    pub recorded: Option<Option<Entry>>,
}

/// The context of the requests.
pub(super) struct Job<'a> {
    pub folder: &'a Folder,
    pub project: &'a Path,
    /// Writes the content for a request into an empty file.
    pub fill: &'a dyn Fn(usize, &File) -> Result<()>,
    /// The backup entry that this restores. If there is none, a backup is made.
    pub restores: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// Everything new is being prepared beside the project.
    Staging,
    /// The project is being changed.
    Moving,
    /// The project has every change.
    Done,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Journal {
    #[serde(with = "exact")]
    project: PathBuf,
    phase: Phase,
    stages: Vec<StageName>,
    steps: Vec<Step>,
    recorded: Vec<Recorded>,
    keeps: Option<u64>,
    restores: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StageName {
    /// The folder that contains it: the root of a file system in the project.
    #[serde(with = "exact")]
    at: PathBuf,
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recorded {
    #[serde(with = "exact")]
    path: PathBuf,
    entry: Option<Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    #[serde(with = "exact")]
    path: PathBuf,
    stage: usize,
    what: What,
    #[serde(skip)]
    request: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// Removes a file or a link.
    Remove(Entry),
    /// Removes an empty folder. If it is not empty, it is kept with `may_stay`; otherwise nothing is done at
    /// all.
    RemoveFolder { mode: u32, may_stay: bool },
    /// Puts something new in the place of what was there.
    Put { before: Option<Entry>, after: Entry, number: u64 },
}

struct Stage {
    at: Beneath,
    name: OsString,
    inside: Beneath,
}

/// What a person must know after an interrupted `apply` was undone or finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the project is as it was before, instead of as requested.
    pub is_undone: bool,
    /// Paths that were left alone because somebody has changed them since, each with the place of what was
    /// there before.
    pub left: Vec<(PathBuf, PathBuf)>,
}

fn path(folder: &Folder) -> PathBuf {
    folder.state().join("apply.json")
}

fn write(folder: &Folder, journal: &Journal) -> Result<()> {
    write_private(&path(folder), serde_json::to_string(journal)?.as_bytes())?;
    // No step may reach the disk before the record that announces it.
    Ok(File::open(folder.state())?.sync_all()?)
}

/// Takes the lock that protects the journal. Returns `None` if somebody else holds it.
fn lock(folder: &Folder) -> Result<Option<File>> {
    private_dir(folder.state())?;
    let path = folder.state().join("apply.lock");
    let what = || path.display().to_string();
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).with_context(what)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(what),
    }
}

/// Finishes or undoes what a dead process left.
///
/// # Errors
/// Returns an error if it cannot be undone. The journal is kept for the next try.
pub(super) fn recover(folder: &Folder) -> Result<Option<Recovered>> {
    let path = path(folder);
    if !path.exists() {
        return Ok(None);
    }
    let Some(_lock) = lock(folder)? else { return Ok(None) };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    let journal: Journal = parse_json(&path, &text)?;
    let ours = match beneath::open(&journal.project) {
        // The project was moved. Its owner is asked about that first.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| journal.project.display().to_string())?,
    };
    let is_undone = journal.phase != Phase::Done;
    let mut work = Work::resume(folder, ours, journal);
    if work.journal.phase == Phase::Moving && work.stages.iter().all(Option::is_none) {
        // Steps are undone from the stage, so the stage must exist. It does not, so another folder is in the
        // project's place.
        return Ok(None);
    }
    let left = if is_undone { work.undo()? } else { work.finish().map(|()| Vec::new())? };
    Ok(Some(Recovered { is_undone, left }))
}

/// An interrupted `apply` or `undo` that could not be finished or undone yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The project, which is not where it was.
    pub project: PathBuf,
    /// The file that says what is to be done.
    pub journal: PathBuf,
}

/// Returns what [`recover`] had to leave, unless somebody is working on it right now.
pub(super) fn unfinished(folder: &Folder) -> Result<Option<Unfinished>> {
    let journal = path(folder);
    if !journal.exists() {
        return Ok(None);
    }
    let Some(_lock) = lock(folder)? else { return Ok(None) };
    let text = fs::read_to_string(&journal).with_context(|| journal.display().to_string())?;
    let Journal { project, .. } = parse_json(&journal, &text)?;
    Ok(Some(Unfinished { project, journal }))
}

/// Follows a project that was moved.
pub(super) fn follow(folder: &Folder, to: &Path) -> Result<()> {
    let path = path(folder);
    if !path.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut journal: Journal = parse_json(&path, &text)?;
    to.clone_into(&mut journal.project);
    write(folder, &journal)
}

/// Carries out all requests, or none.
///
/// # Errors
/// Returns an error if that is impossible. The project is unchanged then, unless the error says otherwise.
pub(super) fn grant(job: &Job, requests: &[Request]) -> Result<()> {
    let folder = job.folder;
    let _lock = lock(folder)?.context("another command applies changes")?;
    let ours = beneath::open(job.project).with_context(|| job.project.display().to_string())?;
    let (steps, stages) = steps(&ours, requests)?;
    let journal = Journal {
        project: job.project.to_owned(),
        phase: Phase::Staging,
        stages,
        steps,
        recorded: Vec::new(),
        keeps: if job.restores.is_none() { Some(backup::next(folder)?) } else { None },
        restores: job.restores,
    };
    // The steps are not needed to remove a stage.
    write(folder, &Journal { steps: Vec::new(), ..journal.clone() })?;
    fail_point::reached(FailPoint::ApplyJournal);
    let mut work = Work { folder, ours, journal, stages: Vec::new() };
    match work.stage(job, requests).and_then(|()| work.go()) {
        Ok(()) => work.finish(),
        Err(error) => {
            // Everything done so far can be undone.
            let left = work.undo().with_context(|| {
                format!("{error:#}; and undoing it failed; the next `bottle diff` tries again")
            })?;
            Err(left.into_iter().fold(error, |error, (path, kept)| {
                error.context(format!(
                    "{} was changed meanwhile; before it was {}",
                    path.display(),
                    kept.display()
                ))
            }))
        }
    }
}

/// Returns the steps for the requests, and the stages that they need.
fn steps(ours: &Beneath, requests: &[Request]) -> Result<(Vec<Step>, Vec<StageName>)> {
    let mut stages = Stages { ours, known: HashMap::new(), names: Vec::new() };
    let mut steps = Vec::new();
    let mut gone: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
    gone.retain(|(_, request)| match (&request.before, &request.after) {
        (Some(Entry::Folder), after) => *after != Some(Entry::Folder),
        (before, after) => before.is_some() && after.is_none(),
    });
    // Whatever is in a folder is removed before the folder.
    gone.sort_by_key(|(_, request)| Reverse(request.path.components().count()));
    for (index, request) in gone {
        let what = match &request.before {
            Some(Entry::Folder) => {
                let (above, name) = ours.above(&request.path)?;
                What::RemoveFolder { mode: above.meta(name)?.mode, may_stay: request.after.is_none() }
            }
            Some(before) => What::Remove(before.clone()),
            None => continue,
        };
        steps.push(Step {
            path: request.path.clone(),
            stage: stages.of(&request.path)?,
            what,
            request: Some(index),
        });
    }
    let mut come: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
    come.retain(|(_, request)| request.after.is_some() && request.before != request.after);
    come.sort_by_key(|(_, request)| &request.path);
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for (index, request) in come {
        let above: Vec<&Path> =
            request.path.ancestors().skip(1).take_while(|above| !folders.contains(*above)).collect();
        for above in above.into_iter().rev().filter(|above| !above.as_os_str().is_empty()) {
            folders.insert(above.to_owned());
            let there = ours.above(above).and_then(|(folder, name)| Entry::at(&folder, name));
            match there {
                Ok(Entry::Folder) => {}
                Ok(Entry::Link(_)) if !Defence::Beneath.stands() => {}
                Err(error) if is_no_folder(&error) => {
                    let what = What::Put { before: None, after: Entry::Folder, number: 0 };
                    steps.push(Step {
                        path: above.to_owned(),
                        stage: stages.of(above)?,
                        what,
                        request: None,
                    });
                }
                Ok(_) => bail!("{}: not a folder", above.display()),
                Err(error) => return Err(error).with_context(|| above.display().to_string()),
            }
        }
        let Some(after) = request.after.clone() else { continue };
        if after == Entry::Folder {
            folders.insert(request.path.clone());
        }
        let before = request.before.clone().filter(|before| *before != Entry::Folder);
        let what = What::Put { before, after, number: 0 };
        steps.push(Step {
            path: request.path.clone(),
            stage: stages.of(&request.path)?,
            what,
            request: Some(index),
        });
    }
    Ok((steps, stages.names))
}

/// The stages: one for each file system that the project extends to.
struct Stages<'a> {
    ours: &'a Beneath,
    known: HashMap<PathBuf, usize>,
    names: Vec<StageName>,
}

impl Stages<'_> {
    fn of(&mut self, path: &Path) -> Result<usize> {
        let above = path.parent().unwrap_or(Path::new(""));
        if let Some(known) = self.known.get(above) {
            return Ok(*known);
        }
        let (mut folder, mut at, mut root) = (self.ours.try_clone()?, PathBuf::new(), PathBuf::new());
        let mut device = folder.own_meta()?.device;
        for name in above.components() {
            // A folder that does not exist yet will be on its parent's file system.
            let Ok(next) = folder.folder(name.as_os_str()) else { break };
            at.push(name);
            let its = next.own_meta()?.device;
            if its != device {
                (device, root) = (its, at.clone());
            }
            folder = next;
        }
        let found = self.names.iter().position(|stage| stage.at == root);
        let stage = match found {
            Some(stage) => stage,
            None => {
                // The name is random, so that a guest cannot guess it and put a folder there.
                let mut random = [0; 8];
                File::open("/dev/urandom")
                    .and_then(|mut random_source| random_source.read_exact(&mut random))?;
                let random = u64::from_ne_bytes(random);
                self.names.push(StageName {
                    at: root,
                    name: format!("{}{}.{random:016x}", STAGE.escape_ascii(), std::process::id()),
                });
                self.names.len() - 1
            }
        };
        self.known.insert(above.to_owned(), stage);
        Ok(stage)
    }
}

struct Work<'a> {
    folder: &'a Folder,
    ours: Beneath,
    journal: Journal,
    stages: Vec<Option<Stage>>,
}

fn new(index: usize) -> OsString {
    format!("{index}.new").into()
}

fn old(index: usize) -> OsString {
    format!("{index}.old").into()
}

impl<'a> Work<'a> {
    fn resume(folder: &'a Folder, ours: Beneath, journal: Journal) -> Self {
        let stages = journal.stages.iter().map(|stage| {
            let at = ours.folder_at(&stage.at).ok()?;
            let name = OsString::from(&stage.name);
            Some(Stage { inside: at.folder(&name).ok()?, at, name })
        });
        let stages = stages.collect();
        Self { folder, ours, journal, stages }
    }

    /// Prepares everything new beside the project, and backs up what will be replaced or removed.
    fn stage(&mut self, job: &Job, requests: &[Request]) -> Result<()> {
        for stage in &self.journal.stages {
            let at = self.ours.folder_at(&stage.at)?;
            let name = OsString::from(&stage.name);
            let inside = at.make_folder(&name, 0o700).with_context(|| {
                format!("cannot prepare the changes in {}", job.project.join(&stage.at).display())
            })?;
            self.stages.push(Some(Stage { at, name, inside }));
        }
        let owner = owner(&self.ours)?;
        let files = self.journal.steps.iter().filter(|step| matches!(step.what, What::Put { .. })).count();
        for index in 0..self.journal.steps.len() {
            let step = &self.journal.steps[index];
            let What::Put { before, after, .. } = &step.what else { continue };
            let stage = self.inside(step.stage)?;
            let what = || step.path.display().to_string();
            let fill = |file: &File| {
                step.request.map_or(Ok(()), |request| (job.fill)(request, file))?;
                if let Some(Entry::File { .. }) = before {
                    let (above, name) = self.ours.above(&step.path)?;
                    attributes::keep(&above.file(name)?.0, file).context("its extended attributes")?;
                }
                Ok(())
            };
            put(stage, &new(index), after, owner, fill, files <= MANY).with_context(what)?;
            let number = stage.meta(&new(index))?.number;
            let after = Entry::at(stage, &new(index))?;
            if let What::Put { after: put, number: known, .. } = &mut self.journal.steps[index].what {
                (*put, *known) = (after, number);
            }
        }
        fail_point::reached(FailPoint::ApplyStaged);
        self.record(requests);
        if let Some(number) = self.journal.keeps {
            let backup = self.backup(requests)?;
            backup::keep(self.folder, number, &self.ours, &backup)?;
            fail_point::reached(FailPoint::ApplyKept);
        }
        self.sync(files > MANY)
    }

    /// Notes what the copy's record is to say.
    fn record(&mut self, requests: &[Request]) {
        let put: HashMap<usize, &Entry> = self.put();
        let recorded = requests.iter().enumerate().map(|(index, request)| {
            let entry = request.recorded.clone();
            let entry =
                entry.unwrap_or_else(|| put.get(&index).copied().cloned().or_else(|| request.after.clone()));
            Recorded { path: request.path.clone(), entry }
        });
        self.journal.recorded = recorded.collect();
    }

    /// Returns the new entry for each request that has one.
    fn put(&self) -> HashMap<usize, &Entry> {
        let put = self.journal.steps.iter().filter_map(|step| match &step.what {
            What::Put { after, .. } => Some((step.request?, after)),
            _ => None,
        });
        put.collect()
    }

    fn backup(&self, requests: &[Request]) -> Result<Backup> {
        let record = Record::read(self.folder)?;
        let recorded =
            |path: &Path| record.as_ref().and_then(|record| record.manifest.paths.get(path).cloned());
        let put = self.put();
        let made = self.journal.steps.iter().filter(|step| step.request.is_none()).map(|step| Was {
            path: step.path.clone(),
            before: None,
            after: Some(Entry::Folder),
            recorded: recorded(&step.path),
        });
        let requested = requests.iter().enumerate().map(|(index, request)| Was {
            path: request.path.clone(),
            before: request.before.clone(),
            after: put.get(&index).copied().cloned().or_else(|| request.after.clone()),
            recorded: recorded(&request.path),
        });
        Ok(Backup {
            project: self.journal.project.clone(),
            when: SystemTime::now(),
            paths: made.chain(requested).collect(),
        })
    }

    fn sync(&self, everything: bool) -> Result<()> {
        for stage in self.stages.iter().flatten() {
            if everything { stage.inside.sync_all()? } else { stage.inside.sync()? }
        }
        Ok(())
    }

    fn inside(&self, stage: usize) -> Result<&Beneath> {
        let stage = self.stages.get(stage).and_then(Option::as_ref);
        Ok(&stage.context("the folder with the prepared changes is gone")?.inside)
    }

    /// Changes the project, step by step.
    fn go(&mut self) -> Result<()> {
        self.journal.phase = Phase::Moving;
        write(self.folder, &self.journal)?;
        fail_point::reached(FailPoint::ApplyMoving);
        for (index, step) in self.journal.steps.iter().enumerate() {
            self.forth(index, step).with_context(|| step.path.display().to_string())?;
            fail_point::reached_nth(FailPoint::ApplyStep, index);
        }
        self.sync_folders()?;
        write(self.folder, &Journal { phase: Phase::Done, ..self.journal.clone() })?;
        self.journal.phase = Phase::Done;
        fail_point::reached(FailPoint::ApplyDone);
        Ok(())
    }

    /// Waits until the changes to the project's folders are on disk.
    fn sync_folders(&self) -> Result<()> {
        let above: HashSet<&Path> = self.journal.steps.iter().filter_map(|step| step.path.parent()).collect();
        if above.len() > MANY {
            return self.sync(true);
        }
        for folder in above {
            // For a folder that is gone, syncing its parent is enough.
            if let Ok(folder) = self.ours.folder_at(folder) {
                folder.sync()?;
            }
        }
        Ok(())
    }

    fn forth(&self, index: usize, step: &Step) -> Result<()> {
        let raced = || anyhow!("it changed while it was applied");
        let (above, name) = self.ours.above(&step.path)?;
        let stage = self.inside(step.stage)?;
        let (new, old) = (new(index), old(index));
        match &step.what {
            What::Remove(before) => {
                above.rename_new(name, stage, &old)?;
                if Entry::at(stage, &old)? != *before {
                    return Err(raced());
                }
            }
            What::RemoveFolder { may_stay, .. } => match above.remove_folder(name) {
                Err(error) if *may_stay && is_full(&error) => {}
                removed => removed?,
            },
            What::Put { before: None, .. } => stage.rename_new(&new, &above, name)?,
            What::Put { before: Some(before), .. } => {
                if can_exchange() && stage.exchange(&new, &above, name)? {
                    if Entry::at(stage, &new)? != *before {
                        return Err(raced());
                    }
                } else {
                    above.rename_new(name, stage, &old)?;
                    fail_point::reached(FailPoint::ApplyHalf);
                    if Entry::at(stage, &old)? != *before {
                        return Err(raced());
                    }
                    stage.rename_new(&new, &above, name)?;
                }
            }
        }
        Ok(())
    }

    /// Undoes every step that was done, in reverse order, and removes the rest. Returns what it had to leave.
    fn undo(&mut self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut left = Vec::new();
        if self.journal.phase == Phase::Moving {
            for (index, step) in self.journal.steps.iter().enumerate().rev() {
                let undone = self.back(index, step).with_context(|| step.path.display().to_string())?;
                if !undone {
                    let stage = &self.journal.stages[step.stage];
                    let kept = self.journal.project.join(&stage.at).join(&stage.name);
                    let name = [old(index), new(index)].into_iter().find(|name| kept.join(name).exists());
                    let kept = match (name, self.journal.keeps.or(self.journal.restores)) {
                        (Some(name), _) => kept.join(name),
                        (None, Some(number)) => backup::shown(self.folder, number),
                        (None, None) => kept,
                    };
                    left.push((self.journal.project.join(&step.path), kept));
                }
                fail_point::reached_nth(FailPoint::ApplyBack, index);
            }
        }
        if left.is_empty() {
            if self.journal.phase == Phase::Moving {
                // From here on there is nothing to undo, and the stage may be missing.
                self.journal.phase = Phase::Staging;
                write(self.folder, &self.journal)?;
            }
            fail_point::reached(FailPoint::ApplyUndone);
            self.clear()?;
            fail_point::reached(FailPoint::ApplyUndoneCleared);
            if let Some(number) = self.journal.keeps {
                backup::forget(self.folder, number)?;
            }
        }
        fs::remove_file(path(self.folder))?;
        Ok(left)
    }

    /// Undoes a step, if it was done. Returns false if what is there now is somebody else's.
    fn back(&self, index: usize, step: &Step) -> Result<bool> {
        let Some(stage) = self.stages.get(step.stage).and_then(Option::as_ref) else { return Ok(false) };
        let stage = &stage.inside;
        let (new, old) = (new(index), old(index));
        let (above, name) = match self.ours.above(&step.path) {
            // If the path's folder never arrived, nothing can have happened to the path.
            Err(error) if is_no_folder(&error) => {
                return Ok(!has(stage, &old) && matches!(step.what, What::Put { before: None, .. }));
            }
            above => above?,
        };
        match &step.what {
            What::Remove(_) if !has(stage, &old) => Ok(true),
            What::Remove(_) => is_free(stage.rename_new(&old, &above, name)),
            What::RemoveFolder { mode, .. } => {
                if !has(&above, name) {
                    // The folder is put back with its permissions and owner, or not at all.
                    let made = match stage.make_folder(&old, 0o700) {
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => stage.folder(&old)?,
                        made => made?,
                    };
                    made.set_mode(*mode)?;
                    if let Some((uid, gid)) = owner(&self.ours)? {
                        made.give(uid, gid)?;
                    }
                    return is_free(stage.rename_new(&old, &above, name));
                }
                Ok(true)
            }
            What::Put { before: None, after, number } => {
                Ok(has(stage, &new) || take(&above, name, stage, &new, after, *number)?)
            }
            What::Put { before: Some(before), after, number } => {
                // Where each of the two is depends on how far the step got, and how far undoing it got.
                let is_new = |name: &OsStr| stage.meta(name).is_ok_and(|meta| meta.number == *number);
                let was = [&old, &new].into_iter().find(|name| has(stage, name) && !is_new(name));
                let is_new_here = is_new(&old) || is_new(&new);
                let Some(was) = was else {
                    return Ok(is_new_here || Entry::at(&above, name).is_ok_and(|entry| entry == *before));
                };
                let free = if *was == old { &new } else { &old };
                let is_gone = is_new_here || take(&above, name, stage, free, after, *number)?;
                Ok(is_gone && is_free(stage.rename_new(was, &above, name))?)
            }
        }
    }

    /// Records what the project has, and cleans up.
    fn finish(&mut self) -> Result<()> {
        if let Some(mut record) = Record::read(self.folder)? {
            for Recorded { path, entry } in &self.journal.recorded {
                match entry {
                    Some(entry) => record.manifest.paths.insert(path.clone(), entry.clone()),
                    None => record.manifest.paths.remove(path),
                };
            }
            record.write(self.folder)?;
        }
        if let Some(number) = self.journal.keeps {
            backup::commit(self.folder, number)?;
        }
        if let Some(number) = self.journal.restores {
            backup::remove(self.folder, number)?;
        }
        fail_point::reached(FailPoint::ApplyRecorded);
        self.clear()?;
        fail_point::reached(FailPoint::ApplyCleared);
        Ok(fs::remove_file(path(self.folder))?)
    }

    /// Removes the stages.
    fn clear(&mut self) -> Result<()> {
        for stage in self.stages.drain(..).flatten() {
            beneath::remove_all(&stage.inside)?;
            stage.at.remove_folder(&stage.name)?;
        }
        Ok(())
    }
}

fn can_exchange() -> bool {
    !(cfg!(debug_assertions)
        && std::env::var_os("BOTTLE_DIE_AFTER").is_some_and(|point| point == FailPoint::ApplyHalf.name()))
}

fn has(folder: &Beneath, name: &OsStr) -> bool {
    folder.meta(name).is_ok()
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT))
}

/// Returns whether a path's folder is missing: nothing is there, or a file, or a link.
fn is_no_folder(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// Returns whether something could be moved to its name, or false if the name is taken.
fn is_free(moved: io::Result<()>) -> Result<bool> {
    match moved {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        moved => Ok(moved.map(|()| true)?),
    }
}

/// Takes something out of the project again, if it is what was put there. Returns false if it is not.
fn take(from: &Beneath, name: &OsStr, to: &Beneath, new: &OsStr, put: &Entry, number: u64) -> Result<bool> {
    let is_it = |folder: &Beneath, name: &OsStr| {
        Entry::at(folder, name).is_ok_and(|entry| entry == *put)
            && folder.meta(name).is_ok_and(|meta| meta.number == number)
    };
    if !has(from, name) {
        return Ok(true);
    }
    if !is_it(from, name) {
        return Ok(false);
    }
    if *put == Entry::Folder {
        // Whatever somebody else put into it stays.
        return match from.remove_folder(name) {
            Err(error) if is_full(&error) => Ok(false),
            removed => Ok(removed.map(|()| true)?),
        };
    }
    from.rename_new(name, to, new)?;
    if is_it(to, new) {
        return Ok(true);
    }
    to.rename_new(new, from, name)?;
    Ok(false)
}

/// Prepares one entry in the stage.
fn put(
    stage: &Beneath,
    name: &OsStr,
    entry: &Entry,
    owner: Option<(Uid, Gid)>,
    fill: impl Fn(&File) -> Result<()>,
    syncs: bool,
) -> Result<()> {
    match entry {
        Entry::Folder => {
            let made = stage.make_folder(name, 0o777)?;
            if let Some((uid, gid)) = owner {
                made.give(uid, gid)?;
            }
        }
        Entry::Link(target) => {
            stage.make_link(target, name)?;
            if let Some((uid, gid)) = owner {
                stage.give_one(name, uid, gid, |meta| meta.kind == beneath::Kind::Link)?;
            }
        }
        Entry::File { mode, changed, .. } => {
            let file = stage.create(name, 0o600)?;
            fill(&file)?;
            if let Some((uid, gid)) = owner {
                rustix::fs::fchown(&file, Some(uid), Some(gid))?;
            }
            set_mode(&file, mode & MODE)?;
            if let Some(time) = moment(*changed) {
                file.set_modified(time)?;
            }
            if syncs {
                file.sync_all()?;
            }
        }
        _ => bail!("it cannot be applied"),
    }
    Ok(())
}

/// Returns the project's owner if we are root, because root works on behalf of the owner.
fn owner(ours: &Beneath) -> io::Result<Option<(Uid, Gid)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = ours.own_meta()?;
    Ok(Some((Uid::from_raw(meta.uid), Gid::from_raw(meta.gid))))
}
