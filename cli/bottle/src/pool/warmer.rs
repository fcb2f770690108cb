//! The process that keeps machines ready, and removes those whose time is over. There is one for each state folder.
//!
//! It owns nothing: what there is and what is wanted is on disk, and a second one goes on where the first one died. It
//! ends when nothing waits, nothing is in use and nothing is asked for.

use super::boot::boot;
use super::judge::{Facts, Why, verdict};
use super::shown::say;
use bottle_host::failure::Outcome;
use bottle_host::pool::{Entry, MOST, Pressure, Record, Standing, Wanted, lock_warmer, longest};
use bottle_host::smolvm::Smolvm;
use bottle_host::state::Home;
use bottle_host::tools;
use bottle_host::usage::{Usage, written};
use rustix::process::setsid;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks.
const GLANCE: Duration = Duration::from_secs(1);
/// How long it waits after something went wrong.
const PAUSE: Duration = Duration::from_secs(10);
/// How long another warmer may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a machine is watched before it is said to be busy.
const WINDOW: Duration = Duration::from_secs(30);
/// How long after a run took a machine the next one is started, unless the run has ended by then: a boot beside its start
/// would take from it what the pool is for.
const SETTLED: Duration = Duration::from_secs(30);
/// How much of one processor a machine that waits may take in that time, in tenths of a percent.
const BUSY: u64 = 250;
/// How many bytes it may write in that time.
const MUCH: u64 = 256 << 20;

/// Keeps machines ready, for as long as runs ask for them. This is the warmer's whole life.
///
/// # Errors
/// Returns an error if there is no smolvm, or if the folders cannot be read.
pub fn main() -> Outcome {
    // Whoever started it may close the terminal.
    let _ = setsid();
    let home = Home::find()?;
    loop {
        let Some(lock) = lock_warmer(&home, PATIENCE)? else { return Ok(()) };
        let mut warmer = Warmer { smolvm: tools::smolvm()?, home: home.clone(), watched: BTreeMap::new() };
        loop {
            match warmer.look() {
                Ok(true) => thread::sleep(GLANCE),
                Ok(false) => break,
                Err(failure) => {
                    say(&home, &failure.to_string());
                    thread::sleep(PAUSE);
                }
            }
        }
        drop(lock);
        // A run may have asked after the last look, and found the lock taken.
        if Wanted::all(&home, longest()).is_empty() {
            return Ok(());
        }
    }
}

struct Warmer {
    smolvm: Smolvm,
    home: Home,
    watched: BTreeMap<String, Watched>,
}

/// What a machine had used when its window began.
#[derive(Clone, Copy)]
struct Watched {
    since: Instant,
    used: Usage,
    written: u64,
}

impl Warmer {
    /// Looks at every machine once, and starts one at most. Returns whether there is more to do.
    fn look(&mut self) -> Outcome<bool> {
        let home = self.home.clone();
        let wanted = Wanted::all(&home, longest());
        let pressure = Pressure::now();
        let entries = Entry::all(&home)?;
        let (mut waiting, mut total, mut is_starting) = (vec![0; wanted.len()], 0, false);
        self.watched.retain(|id, _| entries.iter().any(|entry| entry.id() == id));
        for entry in &entries {
            match entry.standing() {
                Standing::Held(_) => is_starting |= entry.held_for().is_some_and(|time| time < SETTLED),
                Standing::Left => {
                    if let Some(claim) = entry.inherit()? {
                        claim.remove(&self.smolvm)?;
                    }
                }
                Standing::Waits => {
                    let Ok(record) = entry.read() else { continue };
                    let at = wanted.iter().position(|wanted| wanted.shape == record.shape);
                    let is_wanted = at.is_some_and(|at| waiting[at] < usize::from(wanted[at].machines));
                    match self.why_not(entry, &record, is_wanted, pressure) {
                        None => {
                            total += 1;
                            at.iter().for_each(|at| waiting[*at] += 1);
                        }
                        Some(why) => self.discard(entry, at.map(|at| &wanted[at]), why)?,
                    }
                }
            }
        }
        for (wanted, waiting) in wanted.iter().zip(waiting) {
            if !wanted.shape.is_current() {
                wanted.withdraw(&home);
            } else if waiting < usize::from(wanted.machines)
                && total < MOST
                && pressure == Pressure::None
                && !is_starting
            {
                if let Err(failure) = boot(&home, &self.smolvm, &wanted.shape) {
                    // It would fail again. The next run asks again.
                    wanted.withdraw(&home);
                    say(&home, &format!("no machine was started: {failure}"));
                }
                return Ok(true);
            }
        }
        Ok(!entries.is_empty() || !wanted.is_empty())
    }

    fn why_not(
        &mut self,
        entry: &Entry,
        record: &Record,
        is_wanted: bool,
        pressure: Pressure,
    ) -> Option<Why> {
        let booted = record.booted?;
        let is_restless = self.is_restless(entry.id(), booted.pid);
        let facts = Facts {
            age: booted.age(),
            is_current: record.shape.is_current(),
            is_wanted,
            is_restless,
            pressure,
        };
        verdict(&facts, longest())
    }

    /// Returns whether a machine did more in its last window than one in which nothing runs.
    fn is_restless(&mut self, id: &str, pid: i32) -> bool {
        let Some(used) = Usage::of(pid) else { return false };
        let now = Watched { since: Instant::now(), used, written: written(pid).unwrap_or_default() };
        let before = *self.watched.entry(id.to_owned()).or_insert(now);
        if before.since.elapsed() < WINDOW {
            return false;
        }
        self.watched.insert(id.to_owned(), now);
        used.since(&before.used) > BUSY || now.written.saturating_sub(before.written) > MUCH
    }

    fn discard(&self, entry: &Entry, wanted: Option<&Wanted>, why: Why) -> Outcome {
        let Some(claim) = entry.claim("the warmer")? else { return Ok(()) };
        if let (Some(wanted), Why::Ended | Why::Restless) = (wanted, why) {
            // The next one would do the same. The next run asks again.
            wanted.withdraw(&self.home);
        }
        claim.kill();
        claim.remove(&self.smolvm)?;
        say(&self.home, &format!("the machine {} was removed: {why}", entry.id()));
        Ok(())
    }
}
