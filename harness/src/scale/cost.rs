//! What one run of a command costs.

use crate::compare::measure;
use anyhow::{Result, ensure};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a command cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Milliseconds.
    pub ms: f64,
    /// The peak of its resident memory, in MiB, as far as it was seen while it ran.
    pub peak: f64,
}

/// How often a command's memory is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// Runs a command, which must succeed, without its output.
pub fn of(mut command: Command) -> Result<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let since = Instant::now();
    let mut child = command.spawn()?;
    let (mut peak, pid) = (0.0_f64, i64::from(child.id()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(measure::peak(pid).unwrap_or(0.0));
        thread::sleep(GLANCE);
    };
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Cost { ms: since.elapsed().as_secs_f64() * 1e3, peak })
}

/// Returns the median time of several runs, in milliseconds, and the highest peak.
pub fn usual(make: impl Fn() -> Command) -> Result<Cost> {
    const RUNS: usize = 5;
    let mut all = (0..RUNS).map(|_| of(make())).collect::<Result<Vec<Cost>>>()?;
    all.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let peak = all.iter().map(|cost| cost.peak).fold(0.0, f64::max);
    Ok(Cost { ms: all[RUNS / 2].ms, peak })
}
