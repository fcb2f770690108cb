//! What a run leaves in its bottle's state, so that somebody else can finish it.

use super::result::RunResult;
use anyhow::{Context, Result};
use bottle_host::peer::Process;
use bottle_host::state::{Folder, parse_json, write_private};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What somebody else needs to finish a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The folder of its results.
    pub out: PathBuf,
    /// How much of the guest's changes is read, in bytes.
    pub max_size: u64,
    /// The start of this machine in which it began.
    pub boot: String,
    /// The call of smolvm that runs the machine.
    pub call: Option<Call>,
    /// The name that smolvm gave the machine.
    pub machine: Option<String>,
    /// How it went so far.
    pub result: RunResult,
}

/// A process, by its number and start time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Call {
    pid: i32,
    started: u64,
}

impl Record {
    /// Reads the record of a bottle's run, if it has one.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn read(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.run_record();
        match fs::read_to_string(&path) {
            Ok(text) => parse_json(&path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        write_private(&folder.run_record(), serde_json::to_string(self)?.as_bytes())
    }

    /// Returns the call of smolvm, if it still runs. After a restart of this machine it does not, whatever number and
    /// time a process has.
    pub fn running_call(&self) -> Option<Process> {
        let call = self.call.filter(|_| self.boot == boot())?;
        Process::again(call.pid, call.started)
    }
}

impl Call {
    /// Returns the process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let process = Process::of(i32::try_from(pid).ok()?)?;
        Some(Self { pid: process.pid(), started: process.started() })
    }
}

/// Returns a word for this start of this machine.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
