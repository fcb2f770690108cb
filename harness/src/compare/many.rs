//! One, ten, fifty bottles at once: what each costs should not grow with how many there are.

use super::measure;
use super::report::{Better, Figures, Report};
use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Result, ensure};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the idle ones are watched.
const WATCH: Duration = Duration::from_secs(5);

pub fn compare(place: &Place, most: usize, report: &mut Report) -> Result<()> {
    let mut one = None;
    for count in [1, 10, 50].into_iter().filter(|count| *count <= most) {
        let taken = take(place, count)?;
        let first = *one.get_or_insert(taken);
        let n = f64::from(u32::try_from(count)?);
        for (what, unit, now, single) in [
            ("start, each", "ms", taken.start / n, first.start),
            ("keeper's memory, each", "MiB", taken.memory / n, first.memory),
        ] {
            let figures = [
                Figures { system: "bottle", values: vec![now], goal: None },
                Figures { system: "one alone", values: vec![single], goal: Some(1.0) },
            ];
            report.add(&format!("{count} at once: {what}"), unit, Better::Lower, &figures);
        }
        let figures = [
            Figures { system: "bottle", values: vec![taken.idle], goal: None },
            Figures { system: "the goal", values: vec![1.0], goal: Some(1.0) },
        ];
        report.add(&format!("{count} at once: idle, all"), "% core", Better::Lower, &figures);
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Taken {
    /// Milliseconds until all are up.
    start: f64,
    /// MiB of all keepers.
    memory: f64,
    /// Percent of a core that all keepers take while nothing happens.
    idle: f64,
}

fn take(place: &Place, count: usize) -> Result<Taken> {
    let room = Room::new(place)?;
    std::fs::write(room.project().join("bottle.toml"), "[workspace]\nmode = \"none\"\n")?;
    let bottle = |words: &[&str]| -> Result<Vec<u8>> {
        let mut command = Command::new(place.program("bottle")?);
        command.args(words).current_dir(room.project()).stdin(Stdio::null());
        let output = command.envs(room.env().iter().map(|(name, value)| (name, value))).output()?;
        ensure!(output.status.success(), "bottle {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let slugs: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    // Two at a time: this machine has two cores, and more would measure its scheduler.
    let since = Instant::now();
    for pair in slugs.chunks(2) {
        thread::scope(|scope| {
            let ups: Vec<_> = pair.iter().map(|slug| scope.spawn(|| bottle(&["-q", "up", slug]))).collect();
            ups.into_iter()
                .try_for_each(|up| up.join().unwrap_or_else(|_| anyhow::bail!("a thread")).map(|_| ()))
        })?;
    }
    let start = since.elapsed().as_secs_f64() * 1e3;
    let mut keepers = Vec::new();
    for slug in &slugs {
        let status: serde_json::Value = serde_json::from_slice(&bottle(&["status", "--json", slug])?)?;
        keepers.extend(status["pid"].as_i64());
    }
    let memory = keepers.iter().map(|pid| measure::resident(*pid)).sum::<Result<f64>>()?;
    let spent = || keepers.iter().map(|pid| measure::processor(*pid)).sum::<Result<f64>>();
    let before = spent()?;
    thread::sleep(WATCH);
    let idle = (spent()? - before) / WATCH.as_secs_f64() * 100.0;
    for slug in &slugs {
        bottle(&["-q", "rm", "--force", slug])?;
    }
    Ok(Taken { start, memory, idle })
}
