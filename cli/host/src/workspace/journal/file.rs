//! What the journal says: the file in the bottle's state folder from which a change is undone or finished.

use super::super::exact;
use super::super::tree::Entry;
use crate::state::{Folder, parse_json, private_dir, write_private};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Everything new is being prepared beside the project.
    Staging,
    /// The project is being changed.
    Moving,
    /// The project has every change.
    Done,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    #[serde(with = "exact")]
    pub project: PathBuf,
    pub phase: Phase,
    pub stages: Vec<StageName>,
    pub steps: Vec<Step>,
    pub recorded: Vec<Recorded>,
    pub keeps: Option<u64>,
    pub restores: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StageName {
    /// The folder that contains it: the root of a file system in the project.
    #[serde(with = "exact")]
    pub at: PathBuf,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Recorded {
    #[serde(with = "exact")]
    pub path: PathBuf,
    pub entry: Option<Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    #[serde(with = "exact")]
    pub path: PathBuf,
    pub stage: usize,
    pub what: What,
    #[serde(skip)]
    pub request: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// Removes a file or a link.
    Remove(Entry),
    /// Removes an empty folder. If it is not empty, it is kept with `may_stay`; otherwise nothing is done at
    /// all.
    RemoveFolder { mode: u32, may_stay: bool },
    /// Puts something new in the place of what was there.
    Put { before: Option<Entry>, after: Entry, number: u64 },
}

pub(super) fn path(folder: &Folder) -> PathBuf {
    folder.state().join("apply.json")
}

pub(super) fn write(folder: &Folder, journal: &Journal) -> Result<()> {
    write_private(&path(folder), serde_json::to_string(journal)?.as_bytes())?;
    // No step may reach the disk before the record that announces it.
    Ok(File::open(folder.state())?.sync_all()?)
}

/// Takes the lock that protects the journal. Returns `None` if somebody else holds it.
pub(super) fn lock(folder: &Folder) -> Result<Option<File>> {
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

/// Reads the journal. Returns `None` if there is none.
pub(super) fn read(folder: &Folder) -> Result<Option<Journal>> {
    let path = path(folder);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => parse_json(&path, &text.with_context(|| path.display().to_string())?).map(Some),
    }
}
