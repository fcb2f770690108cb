//! More and more lines of a bottle's log. It keeps a hundred megabytes at most, about 400,000 lines.

use super::cost;
use super::series::Series;
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};

/// Measures what reads a log of this many lines.
pub fn measure(checkout: &Checkout, sizes: &[usize]) -> Result<Vec<Series>> {
    const OF: &str = "lines";
    const SLUG: &str = "log";
    let mut series = [
        Series::new("bottle logs --denied", "ms", OF),
        Series::new("peak memory of bottle logs", "MiB", OF),
        Series::new("starting a bottle with a long log", "ms", OF),
    ];
    for size in sizes {
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let bottle = environment.small_project(SLUG, "")?.up()?;
        bottle.run(&[
            "exec",
            "--",
            "sh",
            "-c",
            "curl -s -m 5 -x $HTTP_PROXY http://refused.test/ || true",
        ])?;
        bottle.run(&["stop", SLUG])?;
        let path = environment.path("state").join(SLUG).join("log/audit.jsonl");
        let first = fs::read_to_string(&path)?;
        let line = first.lines().rfind(|line| line.contains("\"refused\"")).context("a refusal")?;
        let mut file = BufWriter::new(File::options().append(true).open(&path)?);
        // Nothing here checks the chain.
        for _ in 0..*size {
            writeln!(file, "{line}")?;
        }
        file.flush()?;
        let logs = cost::usual(|| bottle.command(&["logs", SLUG, "--denied"]))?;
        let up = cost::of(bottle.command(&["up"]))?;
        for (series, figure) in series.iter_mut().zip([logs.ms, logs.peak, up.ms]) {
            series.at(*size, figure);
        }
    }
    Ok(series.to_vec())
}
