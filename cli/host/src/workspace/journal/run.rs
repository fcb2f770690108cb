//! Carries out requests, and finishes or undoes what an interrupted process left.

use super::super::backup;
use super::file::{self, Journal, Phase, lock};
use super::request::{Job, Request};
use super::steps::steps;
use super::work::Work;
use crate::beneath;
use crate::fail_point::{self, FailPoint};
use crate::state::Folder;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a person must know after an interrupted `apply` was undone or finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the project is as it was before, instead of as requested.
    pub is_undone: bool,
    /// Paths that were left alone because somebody has changed them since, each with the place of what was
    /// there before.
    pub left: Vec<(PathBuf, PathBuf)>,
}

/// Finishes or undoes what a dead process left.
///
/// # Errors
/// Returns an error if it cannot be undone. The journal is kept for the next try.
pub(crate) fn recover(folder: &Folder) -> Result<Option<Recovered>> {
    if !file::path(folder).exists() {
        return Ok(None);
    }
    let Some(_lock) = lock(folder)? else { return Ok(None) };
    let Some(journal) = file::read(folder)? else { return Ok(None) };
    let ours = match beneath::open(&journal.project) {
        // The project was moved. Its owner is asked about that first.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| journal.project.display().to_string())?,
    };
    let is_undone = journal.phase != Phase::Done;
    let mut work = Work::resume(folder, ours, journal);
    if work.has_lost_its_stages() {
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
pub(crate) fn unfinished(folder: &Folder) -> Result<Option<Unfinished>> {
    let journal = file::path(folder);
    if !journal.exists() {
        return Ok(None);
    }
    let Some(_lock) = lock(folder)? else { return Ok(None) };
    Ok(file::read(folder)?.map(|Journal { project, .. }| Unfinished { project, journal }))
}

/// Follows a project that was moved.
pub(crate) fn follow(folder: &Folder, to: &Path) -> Result<()> {
    let Some(mut journal) = file::read(folder)? else { return Ok(()) };
    to.clone_into(&mut journal.project);
    file::write(folder, &journal)
}

/// Carries out all requests, or none.
///
/// # Errors
/// Returns an error if that is impossible. The project is unchanged then, unless the error says otherwise.
pub(crate) fn grant(job: &Job, requests: &[Request]) -> Result<()> {
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
    file::write(folder, &Journal { steps: Vec::new(), ..journal.clone() })?;
    fail_point::reached(FailPoint::ApplyJournal);
    let mut work = Work::new(folder, ours, journal);
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
