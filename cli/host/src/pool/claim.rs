//! Who decides about a machine of the pool.
//!
//! A claim is a file that exists once: it is made under another name, locked there, and then given its name by a hard
//! link, which fails if there is one already. Nobody ever sees it without its lock while its process lives.

use super::entry::{Entry, Record};
use super::shape::Shape;
use crate::failure::Outcome;
use crate::smolvm::Smolvm;
use crate::state::{Home, private_dir, remove_dir, remove_file, remove_tree};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long a killed process may take to end.
const DEATH: Duration = Duration::from_secs(5);

/// Who has a machine of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody: it waits.
    Waits,
    /// A process that lives, in its own words.
    Held(String),
    /// A process that has died. It is to be removed.
    Left,
}

/// The right to decide about a machine. It ends with its process, and then the machine is removed.
#[derive(Debug)]
pub struct Claim {
    entry: Entry,
    _lock: File,
}

fn path(entry: &Entry) -> PathBuf {
    entry.state().join("claim")
}

impl Entry {
    /// Returns who has it.
    pub fn standing(&self) -> Standing {
        let Ok(file) = File::open(path(self)) else {
            let has_booted = self.read().is_ok_and(|record| record.booted.is_some());
            return if has_booted { Standing::Waits } else { Standing::Left };
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Standing::Held(fs::read_to_string(path(self)).unwrap_or_default())
            }
            _ => Standing::Left,
        }
    }

    /// Returns for how long the process has had it that has it.
    pub fn held_for(&self) -> Option<Duration> {
        fs::metadata(path(self)).and_then(|meta| meta.modified()).ok()?.elapsed().ok()
    }

    /// Claims it, if it waits. Returns `None` if another process was faster.
    ///
    /// # Errors
    /// Returns an error if the claim cannot be written.
    pub fn claim(&self, by: &str) -> Result<Option<Claim>> {
        if self.standing() == Standing::Waits { make(self, by) } else { Ok(None) }
    }

    /// Claims it to remove it: from nobody, or from a process that has died. Returns `None` if a process has it that lives.
    ///
    /// # Errors
    /// Returns an error if the claim cannot be read or written.
    pub fn claim_to_remove(&self, by: &str) -> Result<Option<Claim>> {
        match self.claim(by)? {
            Some(claim) => Ok(Some(claim)),
            None => self.inherit(),
        }
    }

    /// Takes over the claim of a process that has died, to remove the machine. Returns `None` if it lives, or if
    /// another process does the same.
    ///
    /// # Errors
    /// Returns an error if the claim cannot be read.
    pub fn inherit(&self) -> Result<Option<Claim>> {
        let path = path(self);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            // Its process died before it had a claim.
            Err(error) if error.kind() == ErrorKind::NotFound && self.standing() == Standing::Left => {
                return make(self, "a cleanup");
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(|| path.display().to_string())?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.with_context(|| path.display().to_string())?,
        }
        // Whoever had it before may have removed everything meanwhile, or let the machine wait.
        let ours = file.metadata().with_context(|| path.display().to_string())?.ino();
        let is_it = fs::metadata(&path).is_ok_and(|now| now.ino() == ours);
        Ok(is_it.then(|| Claim { entry: self.clone(), _lock: file }))
    }
}

fn make(entry: &Entry, by: &str) -> Result<Option<Claim>> {
    let draft = entry.state().join(format!("claim.{}", std::process::id()));
    let made = || -> Result<Option<Claim>> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(by.as_bytes())?;
        match fs::hard_link(&draft, path(entry)) {
            Ok(()) => Ok(Some(Claim { entry: entry.clone(), _lock: file })),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let claim = made().with_context(|| format!("cannot claim the machine {}", entry.id()));
    remove_file(&draft)?;
    claim
}

impl Claim {
    /// Makes the folders of a new machine, which is this process's until it [waits](Self::let_wait).
    ///
    /// # Errors
    /// Returns an error if they cannot be made.
    pub fn create(home: &Home, shape: &Shape, by: &str) -> Result<Self> {
        let entry = Entry::new(home)?;
        private_dir(entry.state())?;
        let claim = make(&entry, by)?.context("another process has this name")?;
        entry.remember(&Record { shape: shape.clone(), booted: None })?;
        entry.make_folders()?;
        Ok(claim)
    }

    /// Returns the machine.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Lets a machine that was just made wait for its bottle. This is the only way in which a claim ends before its
    /// machine.
    ///
    /// # Errors
    /// Returns an error if that cannot be recorded.
    pub fn let_wait(self) -> Result<()> {
        remove_file(&path(&self.entry))
    }

    /// Ends the machine's process at once, and returns whether it has ended.
    pub fn kill(&self) -> bool {
        let Some(booted) = self.entry.read().ok().and_then(|record| record.booted) else { return false };
        let end = Instant::now() + DEATH;
        while let Some(process) = booted.process() {
            if let Some(pid) = Pid::from_raw(process.pid()) {
                let _ = kill_process(pid, Signal::KILL);
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Removes the machine with everything of it.
    ///
    /// # Errors
    /// Returns an error if smolvm does not delete it. The next cleanup tries again.
    pub fn remove(self, smolvm: &Smolvm) -> Outcome {
        let name = self.entry.machine_name();
        if let Err(failure) = smolvm.delete(&name)
            && smolvm.machine_named(&name)?.is_some()
        {
            return Err(failure);
        }
        // A guest may have filled it.
        remove_tree(&self.entry.copy())?;
        remove_dir(self.entry.runtime())?;
        // Without it, a machine does not wait, even if its claim goes first.
        self.entry.forget()?;
        Ok(remove_dir(self.entry.state())?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Booted;
    use super::*;

    fn shape() -> Shape {
        Shape { image: None, cpus: 1, memory_mib: 512, copies: true, programs: Vec::new() }
    }

    fn waiting(home: &Home) -> Entry {
        let claim = Claim::create(home, &shape(), "a test").unwrap();
        let entry = claim.entry().clone();
        entry.remember(&Record { shape: shape(), booted: Some(Booted { pid: 1, started: 1 }) }).unwrap();
        claim.let_wait().unwrap();
        entry
    }

    #[test]
    fn of_many_that_claim_a_machine_at_once_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("state"), folder.path().join("run"));
        let entry = waiting(&home);
        let (one, two) = (entry.claim("one").unwrap(), entry.claim("two").unwrap());
        assert!(one.is_some() && two.is_none());
        // Nor where both saw it wait.
        assert!(make(&entry, "three").unwrap().is_none());
        assert_eq!(entry.standing(), Standing::Held("one".to_owned()));
        assert!(entry.inherit().unwrap().is_none(), "its process lives");
        drop(one);
        // It is not put back.
        assert_eq!(entry.standing(), Standing::Left);
        assert!(entry.claim("four").unwrap().is_none());
        let heir = entry.inherit().unwrap();
        assert!(heir.is_some() && entry.inherit().unwrap().is_none());
    }

    #[test]
    fn a_machine_that_is_still_being_made_cannot_be_claimed_and_one_whose_maker_died_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("state"), folder.path().join("run"));
        let maker = Claim::create(&home, &shape(), "the maker").unwrap();
        let entry = maker.entry().clone();
        assert!(entry.claim("a run").unwrap().is_none());
        drop(maker);
        assert_eq!(entry.standing(), Standing::Left);
        // A crash before the claim leaves a folder without one.
        fs::remove_file(path(&entry)).unwrap();
        assert_eq!(entry.standing(), Standing::Left);
        assert!(entry.claim("a run").unwrap().is_none() && entry.inherit().unwrap().is_some());
        assert_eq!(Entry::all(&home).unwrap().len(), 1);
    }
}
