//! Locks, which end with the process that holds them.

use super::files::private_dir;
use super::folder::Folder;
use super::home::Home;
use crate::failure::{Failure, Kind, Outcome};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A lock that is held as long as the value lives, and released when its process dies.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes a lock that several processes can hold at once, and waits for one that holds it alone.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        flock(&file, FlockOperation::LockShared).with_context(|| path.display().to_string())?;
        Ok(Self(file))
    }

    /// Takes a lock alone. Returns `None` if another process still holds it after `patience`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub fn alone(path: &Path, patience: Duration) -> Result<Option<Self>> {
        let end = Instant::now() + patience;
        loop {
            match try_lock(path)? {
                None if Instant::now() < end => std::thread::sleep(GLANCE),
                lock => return Ok(lock),
            }
        }
    }

    /// Whether the file of this lock is still the one that has this name.
    fn is_at(&self, path: &Path) -> bool {
        let id = |of: fs::Metadata| (of.dev(), of.ino());
        self.0.metadata().ok().map(id) == fs::symlink_metadata(path).ok().map(id)
    }
}

impl Home {
    /// Takes the lock that keeps two commands from writing to the trusted folder at once.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if another command holds it for too long.
    pub fn lock_trust(&self) -> Outcome<Lock> {
        private_dir(&self.trusted())?;
        Lock::alone(&self.trusted().join("lock"), LONGEST_TRUST)?.ok_or_else(|| {
            Failure::new(Kind::Busy, "another command has been starting a bottle for too long")
                .help("`bottle ls` shows which bottle; wait for that command, or end it")
        })
    }
}

impl Folder {
    /// Takes the lock that keeps two commands from changing one bottle at once. `what` is the name of the
    /// command, to show to whoever comes second.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if another command holds it, and names that command.
    pub fn lock_operation(&self, what: &str) -> Outcome<Lock> {
        let path = self.operation();
        let lock = loop {
            private_dir(self.state())?;
            let Some(lock) = try_lock(&path)? else {
                let holder = self.busy_with().unwrap_or_else(|| "another command".to_owned());
                return Err(Failure::new(Kind::Busy, format!("{holder} is changing {}", self.slug()))
                    .help("wait for it to end, and try again"));
            };
            // Its last holder may have removed the bottle, and this file with it.
            if lock.is_at(&path) {
                break lock;
            }
        };
        lock.0
            .set_len(0)
            .and_then(|()| write!(&lock.0, "`bottle {what}` (process {})", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(lock)
    }

    /// Returns whether nothing of this bottle is on disk but the lock of an operation.
    ///
    /// # Errors
    /// Returns an error if that cannot be found out.
    pub fn is_new(&self) -> Result<bool> {
        let (state, operation) = (self.state(), self.operation());
        let names = match fs::read_dir(state) {
            Ok(names) => names.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let names = names.with_context(|| state.display().to_string())?;
        Ok(names.iter().all(|entry| entry.path() == operation) && !self.holds_work())
    }

    /// Returns the command that is changing this bottle now, if there is one.
    pub fn busy_with(&self) -> Option<String> {
        let path = self.operation();
        // The new holder may not have written its name yet, so that the previous holder's is still there.
        for _ in 0..GLANCES {
            if !is_held(&path) {
                return None;
            }
            let holder = fs::read_to_string(&path).unwrap_or_default();
            if is_alive(&holder) {
                return Some(holder);
            }
            std::thread::sleep(GLANCE);
        }
        Some("another command".to_owned())
    }

    fn operation(&self) -> PathBuf {
        self.state().join("operation.lock")
    }

    /// Takes the lock that a live keeper holds. Returns `None` if there is one.
    pub fn lock_keeper(&self) -> Result<Option<Lock>> {
        try_lock(&self.state().join("keeper.lock"))
    }

    /// Returns whether a keeper is alive, or nobody can tell.
    pub fn has_keeper(&self) -> bool {
        is_held(&self.state().join("keeper.lock"))
    }
}

/// How often a lock's holder is looked up.
const GLANCES: u32 = 10;
/// How long to wait in between.
const GLANCE: Duration = Duration::from_millis(10);
/// How long another command may hold the lock on the trusted folder. It needs milliseconds.
const LONGEST_TRUST: Duration = Duration::from_secs(30);

/// Returns whether a lock's holder, given as the text that it wrote, is a live process.
fn is_alive(holder: &str) -> bool {
    let number = holder.rsplit("process ").next().and_then(|text| text.trim_end_matches(')').parse().ok());
    number.and_then(Pid::from_raw).is_some_and(|pid| match test_kill_process(pid) {
        // Another user's process counts, too.
        Ok(()) | Err(rustix::io::Errno::PERM) => true,
        Err(_) => false,
    })
}

/// Returns whether a process holds a lock. Nothing is written to find out, so that a full or a read-only disk does not make
/// a live process look dead. Where it cannot be found out, it is held.
fn is_held(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).with_context(|| path.display().to_string())
}

fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
