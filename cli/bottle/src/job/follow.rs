//! Follows a run while it lasts: its log goes into the results, and its memory is looked at.

use super::folder::Results;
use anyhow::Result;
use bottle_core::visible::Json;
use bottle_host::audit::Merged;
use bottle_host::state::Folder;
use bottle_host::usage;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The log, as `bottle audit` prints it.
pub const LOG: &str = "audit.jsonl";
/// The most bytes of it that are kept.
const LONGEST: u64 = 256 << 20;
/// How often the log is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
/// How often somebody is told.
const KEEP: Duration = Duration::from_secs(5);

/// Is told now and then the most memory that the machine was seen with, in bytes.
pub type Sampled = Box<dyn Fn(u64) + Send>;

/// What the thread that follows shares with the run.
#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    machine: AtomicI32,
    memory: AtomicU64,
}

/// A thread that follows a run.
pub struct Follow {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

impl Follow {
    /// Begins to follow a bottle's log.
    ///
    /// # Errors
    /// Returns an error if the results have no place for it.
    pub fn begin(folder: &Folder, results: &Results, tell: Sampled) -> Result<Self> {
        let (to, folder) = (results.begin(LOG)?, folder.clone());
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("follow".to_owned()).spawn(move || {
            let mut log = Log::new(&folder, to)?;
            let (mut sampled, mut told) = (Instant::now(), Instant::now());
            loop {
                // What was written before the end is there when the end is seen.
                let is_over = seen.is_over.load(Relaxed);
                log.catch_up()?;
                if is_over {
                    return Ok(());
                }
                let machine = seen.machine.load(Relaxed);
                if machine != 0 && sampled.elapsed() >= SAMPLE {
                    seen.memory.fetch_max(usage::memory_of_all(machine), Relaxed);
                    sampled = Instant::now();
                    if told.elapsed() >= KEEP {
                        tell(seen.memory.load(Relaxed));
                        told = Instant::now();
                    }
                }
                thread::sleep(GLANCE);
            }
        })?;
        Ok(Self { shared, thread })
    }

    /// Says which process the machine is below.
    pub fn machine(&self, pid: i32) {
        self.shared.machine.store(pid, Relaxed);
    }

    /// Returns the most memory that the machine was seen with, in bytes.
    pub fn memory(&self) -> u64 {
        // The last look may be a second ago.
        let machine = self.shared.machine.load(Relaxed);
        let now = if machine == 0 { 0 } else { usage::memory_of_all(machine) };
        self.shared.memory.fetch_max(now, Relaxed).max(now)
    }

    /// Takes what is left of the log. Nobody writes to it any more.
    ///
    /// # Errors
    /// Returns an error if it could not be kept as a whole.
    pub fn end(self) -> Result<()> {
        self.shared.is_over.store(true, Relaxed);
        self.thread.join().unwrap_or_else(|_| anyhow::bail!("the thread that kept the log has panicked"))
    }
}

/// A log that is copied as it grows.
struct Log {
    from: Merged,
    to: BufWriter<File>,
    left: u64,
}

impl Log {
    fn new(folder: &Folder, to: File) -> Result<Self> {
        let from = Merged::new(&folder.audit(), &folder.decisions())?;
        Ok(Self { from, to: BufWriter::new(to), left: LONGEST })
    }

    fn catch_up(&mut self) -> Result<()> {
        while let Some(line) = self.from.next_line()? {
            let text = match line {
                Ok(entry) => serde_json::to_string(&entry)?,
                Err(line) => line,
            };
            let text = format!("{}\n", Json(&text));
            self.left = self.left.saturating_sub(text.len() as u64);
            anyhow::ensure!(self.left > 0, "the log is longer than {} MiB", LONGEST >> 20);
            self.to.write_all(text.as_bytes())?;
        }
        Ok(self.to.flush()?)
    }
}

/// Copies a log of a run that has ended, in the place of what was copied of it.
///
/// # Errors
/// Returns an error if it cannot be read or written.
pub fn again(folder: &Folder, results: &Results) -> Result<()> {
    results.fill(LOG, |file| Log::new(folder, file.try_clone()?)?.catch_up())
}
