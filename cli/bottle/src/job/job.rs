//! Accompanies a run, and keeps its results.

use super::collect;
use super::folder::Results;
use super::follow::{Follow, Sampled};
use super::heir::Heir;
use super::output::{Bounded, Tally};
use super::record::{Call, Record, boot};
use super::result::{Outputs, Progress, Reason, Resources, RunResult, Walls, Why};
use crate::lifecycle::companion::{Companion, Streams};
use crate::resolve::Resolved;
use anyhow::Context;
use bottle_host::control::{self, Status};
use bottle_host::digest::hex;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Folder;
use bottle_host::tools::Tools;
use bottle_host::usage;
use bottle_verify::judge::Verdict;
use bottle_verify::report::Judged;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a machine may take to end after a signal. Slurm waits 30 s by default before it kills, and what the guest
/// changed has to be collected in that time, too.
pub const GRACE: Duration = Duration::from_secs(5);

/// How much of a run is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of each of the guest's two streams, in bytes.
    pub output: u64,
    /// Of the guest's changes, in bytes.
    pub changes: u64,
}

/// Examines a bottle whose keeper is ready, from the host.
pub type Examine<'j> = &'j (dyn Fn() -> Outcome<Judged> + Sync);

/// A run whose results are kept.
pub struct Job<'j> {
    folder: &'j Folder,
    tools: &'j Tools,
    results: Results,
    limits: Limits,
    examine: Option<Examine<'j>>,
    kept: Arc<Mutex<Kept>>,
    tallies: [Arc<Tally>; 2],
}

/// What changes while it runs.
struct Kept {
    record: Record,
    folder: Folder,
    follow: Option<Follow>,
    heir: Option<Heir>,
}

impl Kept {
    /// Writes the state of things where somebody else would look for it, and where the user does.
    fn say(&self, results: &Results) -> Outcome {
        self.record.write(&self.folder)?;
        Ok(results.say(&self.record.result)?)
    }
}

impl<'j> Job<'j> {
    /// Keeps the results of this bottle's next run in this folder.
    pub fn new(
        folder: &'j Folder,
        tools: &'j Tools,
        results: Results,
        result: RunResult,
        limits: Limits,
        examine: Option<Examine<'j>>,
    ) -> Self {
        let record = Record {
            out: results.path().to_owned(),
            max_size: limits.changes,
            boot: boot(),
            call: None,
            machine: None,
            result,
        };
        let kept = Kept { record, folder: folder.clone(), follow: None, heir: None };
        Self {
            folder,
            tools,
            results,
            limits,
            examine,
            kept: Arc::new(Mutex::new(kept)),
            tallies: [Arc::default(), Arc::default()],
        }
    }

    /// Begins. From here on, whatever happens to this process, somebody finishes the run. Its name is this process's alone.
    ///
    /// # Errors
    /// An error keeps the run from starting.
    pub fn begin(&self) -> Outcome {
        let mut kept = self.kept();
        let version = self.tools.smolvm.version();
        kept.record.result.versions.smolvm = version;
        kept.say(&self.results)?;
        kept.heir = Some(Heir::of(self.folder)?);
        Ok(())
    }

    /// Says that a signal ended the run before its machine was started, and removes what there is of it.
    pub fn told(&self, signal: u8) {
        let _ = self.end(Reason::Terminated, Some(128_u8.saturating_add(signal)), None);
        let _ = self.folder.remove();
    }

    /// Says how the run ended. Everything of the bottle can be removed then.
    ///
    /// # Errors
    /// Returns an error if the results cannot be written.
    pub fn end(&self, reason: Reason, status: Option<u8>, failure: Option<&Failure>) -> Outcome {
        let mut kept = self.kept();
        let result = &mut kept.record.result;
        result.resources.cpu_ms =
            usage::children_time().and_then(|time| u64::try_from(time.as_millis()).ok());
        result.error = failure.map(Why::from);
        result.end(reason, status);
        Ok(self.results.say(result)?)
    }

    /// Returns what keeps a sample of what the run uses, in case nobody here can say at its end.
    fn sampled(&self) -> Sampled {
        let (kept, folder) = (Arc::clone(&self.kept), self.folder.clone());
        Box::new(move |memory| {
            let status = control::status(&folder);
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let used = &mut kept.record.result.resources;
            used.memory_peak = memory;
            if let Some(status) = status {
                used.network = Some(status.counters.clone());
            }
            let _ = kept.record.write(&kept.folder);
        })
    }

    /// Returns the walls around the guest, of which the keeper knows some.
    fn walls(&self, status: &Status) -> Walls {
        Walls {
            stand_in: self.tools.smolvm.stand_in,
            stack: self.tools.network.stack(),
            jail: self.tools.network.bwrap.is_some(),
            keeper: status.confined,
            machine_filtered: status.machine_filtered,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Companion for Job<'_> {
    fn resolved(&self, resolved: &Resolved) -> Outcome {
        let mut kept = self.kept();
        let plan = std::fs::read(self.folder.plan()).context("the plan")?;
        let guest = &resolved.plan.guest;
        let result = &mut kept.record.result;
        result.digests.plan = Some(hex(&plan));
        result.digests.image.clone_from(&guest.image_digest);
        result.resources =
            Resources { cpus: guest.cpus, memory_mib: guest.memory_mib, ..Resources::default() };
        kept.follow = Some(Follow::begin(self.folder, &self.results, self.sampled())?);
        kept.say(&self.results)
    }

    fn streams(&self) -> Outcome<Streams> {
        let [out, err] = &self.tallies;
        let bounded = |name: &str, tally: &Arc<Tally>| -> Outcome<Bounded> {
            Ok(Bounded::new(self.results.begin(name)?, self.limits.output, Arc::clone(tally)))
        };
        let kept = Arc::clone(&self.kept);
        let named = move |name: &str| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.record.machine = Some(name.to_owned());
            let _ = kept.record.write(&kept.folder);
        };
        Ok(Streams {
            out: Box::new(bounded("stdout", out)?),
            err: Box::new(bounded("stderr", err)?),
            named: Box::new(named),
        })
    }

    fn called(&self, pid: u32) {
        let mut kept = self.kept();
        kept.record.call = Call::of(pid);
        kept.record.result.state = Progress::Running;
        if let Some(follow) = &kept.follow {
            follow.machine(pid.cast_signed());
        }
        // What matters is the record. The results are written at the end, too.
        let _ = kept.say(&self.results);
    }

    fn kept(&self) -> Outcome {
        if let Some(status) = control::status(self.folder) {
            let mut kept = self.kept();
            kept.record.result.walls = Some(self.walls(&status));
            // The guest may have filled the disk of the results already.
            let _ = kept.say(&self.results);
        }
        let Some(examine) = self.examine else { return Ok(()) };
        let judged = examine()?;
        let verdict = judged.verdict();
        let text = serde_json::to_string_pretty(&judged).map_err(anyhow::Error::from)?;
        self.results.put("verify.json", format!("{text}\n").as_bytes())?;
        let mut kept = self.kept();
        kept.record.result.verify = Some(verdict);
        kept.say(&self.results)?;
        match verdict {
            Verdict::Isolated => Ok(()),
            Verdict::Leaks => Err(Failure::new(
                Kind::Negative,
                "something answers that is not a door: verify.json says what",
            )
            .help("nothing of the run is trusted; `bottle doctor` checks this machine")),
            Verdict::Inconclusive => Err(Failure::new(
                Kind::Guest,
                "what the guest could reach was not found out: see verify.json",
            )),
        }
    }

    fn ended(&self, status: Option<&Status>) {
        let mut kept = self.kept();
        let result = &mut kept.record.result;
        let Some(status) = status else {
            let what = "the end of audit.jsonl and of resources.network: the keeper ended before its guest";
            result.missing.push(what.to_owned());
            return;
        };
        result.walls = Some(self.walls(status));
        result.resources.network = Some(status.counters.clone());
    }

    fn collect(&self) {
        // Its thread may be about to keep a sample.
        let follow = self.kept().follow.take();
        let followed = follow.map(|follow| (follow.memory(), follow.end()));
        let mut kept = self.kept();
        if let Some((memory, ended)) = followed {
            kept.record.result.resources.memory_peak = memory;
            if let Err(error) = ended {
                kept.record.result.missing.push(format!("audit.jsonl: {error:#}"));
            }
        }
        let [stdout, stderr] = self.tallies.each_ref().map(|tally| tally.so_far());
        kept.record.result.outputs = Outputs { stdout, stderr };
        let _ = kept.say(&self.results);
        collect::all(self.folder, &self.results, &mut kept.record.result, self.limits.changes);
    }
}
