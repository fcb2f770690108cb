//! A machine of the pool, on disk.

use super::shape::Shape;
use crate::peer::Process;
use crate::random;
use crate::smolvm::pool_machine_name as machine_name;
use crate::state::{Home, parse_json, remove_file, write_private};
use crate::usage::Usage;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folders of one machine: what is only ours, and what the virtual machine's process reaches.
#[derive(Clone, Debug)]
pub struct Entry {
    id: String,
    state: PathBuf,
    runtime: PathBuf,
}

/// What is known of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it was made as.
    pub shape: Shape,
    /// Its process, once it has started.
    pub booted: Option<Booted>,
}

/// The process of a machine that has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booted {
    /// Its number.
    pub pid: i32,
    /// When it started, in ticks since this machine's start.
    pub started: u64,
}

impl Booted {
    /// Returns the process, if it still runs.
    pub fn process(self) -> Option<Process> {
        Process::again(self.pid, self.started)
    }

    /// Returns for how long it has run, by a clock that nobody sets. `None` if it does not run any more.
    pub fn age(self) -> Option<Duration> {
        self.process()?;
        Usage::of(self.pid).map(|used| Duration::from_millis(used.uptime_ms))
    }
}

impl Entry {
    /// Returns a machine that does not exist yet.
    ///
    /// # Errors
    /// Returns an error if this machine has no random bytes.
    pub(super) fn new(home: &Home) -> Result<Self> {
        Ok(Self::named(home, &random::hex::<4>()?))
    }

    /// Makes the folders that the machine shares. They are empty.
    pub(super) fn make_folders(&self) -> Result<()> {
        // Others may pass through: the virtual machine's process must reach what is inside.
        let above = self.runtime.parent().unwrap_or(&self.runtime);
        for (folder, mode) in
            [(above, 0o711), (&self.runtime, 0o711), (&self.helper_dir(), 0o755), (&self.copy(), 0o700)]
        {
            let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
            let made = made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(mode)));
            made.with_context(|| folder.display().to_string())?;
        }
        Ok(())
    }

    /// Lists every machine of the pool, by name.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn all(home: &Home) -> Result<Vec<Self>> {
        let folder = home.pool_records();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_id(name))
            .collect();
        ids.sort();
        Ok(ids.iter().map(|id| Self::named(home, id)).collect())
    }

    fn named(home: &Home, id: &str) -> Self {
        Self { id: id.to_owned(), state: home.pool_records().join(id), runtime: home.pool_folders().join(id) }
    }

    /// Returns its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of its machine.
    pub fn machine_name(&self) -> String {
        machine_name(&self.id)
    }

    /// Returns the folder that only its owner can enter.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the folder that the virtual machine's process reaches.
    pub(super) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Returns the path of its Smolfile.
    pub fn smolfile(&self) -> PathBuf {
        self.state.join("smolfile.toml")
    }

    /// Returns the path of the socket that smolvm mounts into it. Nobody listens there while it waits.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("guest.sock")
    }

    /// Returns the path of the folder that it sees as the helper's.
    pub fn helper_dir(&self) -> PathBuf {
        self.runtime.join("guest")
    }

    /// Returns the path of the folder that becomes the copy of a project. It is empty while the machine waits.
    pub fn copy(&self) -> PathBuf {
        self.runtime.join("copy")
    }

    fn record(&self) -> PathBuf {
        self.state.join("machine.json")
    }

    /// Records what is known of it.
    ///
    /// # Errors
    /// Returns an error if that cannot be written.
    pub fn remember(&self, record: &Record) -> Result<()> {
        write_private(&self.record(), &serde_json::to_vec_pretty(record)?)
    }

    pub(super) fn forget(&self) -> Result<()> {
        remove_file(&self.record())
    }

    /// Returns what is known of it.
    ///
    /// # Errors
    /// Returns an error if there is no record, or if another version of bottle wrote it.
    pub fn read(&self) -> Result<Record> {
        let path = self.record();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        parse_json(&path, &text)
    }
}

/// Returns whether a file's name is a machine's.
fn is_id(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
