//! A change in progress: the journal, the project that it is about, and the stages beside it.

use super::super::attributes;
use super::super::backup::{self, Backup, Was};
use super::super::record::Record;
use super::super::stamps::{Stamp, Stamps};
use super::super::tree::Entry;
use super::file::{self, Journal, Phase, Recorded, Step, What};
use super::moves::{back, forth, new, old};
use super::prepare::{owner, put};
use super::request::{Job, Request};
use crate::beneath::{self, Folder as Beneath};
use crate::fail_point::{self, FailPoint};
use crate::state::Folder;
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// With more files than this, the whole file system is synced instead of each file.
const MANY: usize = 64;

/// A folder beside the project's files, with what was prepared and what was replaced.
struct Stage {
    at: Beneath,
    name: OsString,
    inside: Beneath,
}

/// A change that was announced in the journal.
pub(super) struct Work<'a> {
    folder: &'a Folder,
    ours: Beneath,
    journal: Journal,
    stages: Vec<Option<Stage>>,
}

impl<'a> Work<'a> {
    /// Begins a change.
    pub(super) fn new(folder: &'a Folder, ours: Beneath, journal: Journal) -> Self {
        Self { folder, ours, journal, stages: Vec::new() }
    }

    /// Takes up what a dead process left.
    pub(super) fn resume(folder: &'a Folder, ours: Beneath, journal: Journal) -> Self {
        let stages = journal.stages.iter().map(|stage| {
            let at = ours.folder_at(&stage.at).ok()?;
            let name = OsString::from(&stage.name);
            Some(Stage { inside: at.folder(&name).ok()?, at, name })
        });
        let stages = stages.collect();
        Self { folder, ours, journal, stages }
    }

    /// Prepares everything new beside the project, and backs up what will be replaced or removed.
    pub(super) fn stage(&mut self, job: &Job, requests: &[Request]) -> Result<()> {
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
            if let (Some(restored), Some(request), Entry::File { .. }) = (job.restores, step.request, after) {
                backup::restore_bits(self.folder, restored, request, &stage.file(&new(index))?.0)?;
            }
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
    pub(super) fn go(&mut self) -> Result<()> {
        self.journal.phase = Phase::Moving;
        file::write(self.folder, &self.journal)?;
        fail_point::reached(FailPoint::ApplyMoving);
        for (index, step) in self.journal.steps.iter().enumerate() {
            self.inside(step.stage)
                .and_then(|stage| forth(&self.ours, stage, index, step))
                .with_context(|| step.path.display().to_string())?;
            fail_point::reached_nth(FailPoint::ApplyStep, index);
        }
        self.sync_folders()?;
        file::write(self.folder, &Journal { phase: Phase::Done, ..self.journal.clone() })?;
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

    /// Undoes every step that was done, in reverse order, and removes the rest. Returns what it had to leave.
    pub(super) fn undo(&mut self) -> Result<Vec<(PathBuf, PathBuf)>> {
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
                file::write(self.folder, &self.journal)?;
            }
            fail_point::reached(FailPoint::ApplyUndone);
            self.clear()?;
            fail_point::reached(FailPoint::ApplyUndoneCleared);
            if let Some(number) = self.journal.keeps {
                backup::forget(self.folder, number)?;
            }
        }
        fs::remove_file(file::path(self.folder))?;
        Ok(left)
    }

    fn back(&self, index: usize, step: &Step) -> Result<bool> {
        let stage = self.stages.get(step.stage).and_then(Option::as_ref);
        stage.map_or(Ok(false), |stage| back(&self.ours, &stage.inside, index, step))
    }

    /// Returns whether steps may have been done that can no longer be undone, because nothing is left of the
    /// stages.
    pub(super) fn has_lost_its_stages(&self) -> bool {
        self.journal.phase == Phase::Moving && self.stages.iter().all(Option::is_none)
    }

    /// Records what the project has, and cleans up.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Some(mut record) = Record::read(self.folder)? {
            let stamps = Stamps::read(self.folder, &record.manifest).by_path(&record.manifest);
            for Recorded { path, entry } in &self.journal.recorded {
                match entry {
                    Some(entry) => record.manifest.paths.insert(path.clone(), entry.clone()),
                    None => record.manifest.paths.remove(path),
                };
            }
            record.write(self.folder)?;
            let ours = |path: &Path| {
                let (above, name) = self.ours.above(path).ok()?;
                above.meta(name).ok().map(|meta| Stamp::of(&meta))
            };
            let changed =
                self.journal.recorded.iter().map(|recorded| (&*recorded.path, ours(&recorded.path)));
            stamps.follow(self.folder, &record.manifest, changed);
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
        Ok(fs::remove_file(file::path(self.folder))?)
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
