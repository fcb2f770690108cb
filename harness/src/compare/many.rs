//! One, ten and fifty bottles at once. The cost of each should not grow with their number.

use super::measure;
use super::report::{Better, Figures, Report};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

/// How many MiB a keeper may have of its own: what would be free without it.
const MEMORY: f64 = 6.0;
/// How long idle bottles are watched.
const WATCH: Duration = Duration::from_secs(5);

pub fn compare(checkout: &Checkout, most: usize, report: &mut Report) -> Result<()> {
    let mut one = None;
    for count in [1, 10, 50].into_iter().filter(|count| *count <= most) {
        let measured = measure_all(checkout, count)?;
        let first = *one.get_or_insert(measured);
        let n = f64::from(u32::try_from(count)?);
        for (what, unit, now, beside, goal) in [
            ("start, each", "ms", measured.start / n, "one alone", first.start),
            ("keeper's private memory, each", "MiB", measured.memory / n, "the goal", MEMORY),
            ("idle, all", "% core", measured.idle, "the goal", 1.0),
        ] {
            let figures = [
                Figures { system: "bottle", values: vec![now], goal: None },
                Figures { system: beside, values: vec![goal], goal: Some(1.0) },
            ];
            report.add(&format!("{count} at once: {what}"), unit, Better::Lower, &figures);
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Measured {
    /// The milliseconds until all bottles are up.
    start: f64,
    /// The MiB that only the keepers have, all together.
    memory: f64,
    /// The percentage of a core that all keepers use while nothing happens.
    idle: f64,
}

fn measure_all(checkout: &Checkout, count: usize) -> Result<Measured> {
    let project = Environment::new(checkout, Guest::Namespace)?.project("project")?;
    project.write("bottle.toml", "[workspace]\nmode = \"none\"\n")?;
    let slugs: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    // Two at a time: this machine has two cores, and more would measure its scheduler.
    let since = Instant::now();
    for pair in slugs.chunks(2) {
        thread::scope(|scope| {
            let ups: Vec<_> = pair.iter().map(|slug| scope.spawn(|| project.run(&["up", slug]))).collect();
            ups.into_iter()
                .try_for_each(|up| up.join().unwrap_or_else(|_| anyhow::bail!("a thread")).map(|_| ()))
        })?;
    }
    let start = since.elapsed().as_secs_f64() * 1e3;
    let mut keepers = Vec::new();
    for slug in &slugs {
        let status = project.answer(&["status", "--json", slug])?;
        keepers.extend(status["pid"].as_i64());
    }
    let memory = keepers.iter().map(|pid| measure::private(*pid)).sum::<Result<f64>>()?;
    let spent = || keepers.iter().map(|pid| measure::processor(*pid)).sum::<Result<f64>>();
    let before = spent()?;
    thread::sleep(WATCH);
    let idle = (spent()? - before) / WATCH.as_secs_f64() * 100.0;
    for slug in &slugs {
        project.run(&["rm", "--force", slug])?;
    }
    Ok(Measured { start, memory, idle })
}
