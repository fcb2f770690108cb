//! More and more files in a copy of a project.

use super::cost;
use super::series::Series;
use crate::checkout::Checkout;
use crate::compare::files;
use crate::environment::{Environment, Guest, RunningBottle};
use anyhow::Result;

/// How many bytes a file has.
const BYTES: usize = 512;
/// How many files are changed before the second look.
const CHANGED: usize = 100;

/// Measures what a copy of this many files costs.
pub fn measure(checkout: &Checkout, sizes: &[usize]) -> Result<Vec<Series>> {
    const OF: &str = "files";
    let mut series = [
        Series::new("bottle up with a copy", "ms", OF),
        Series::new("bottle diff, nothing changed", "ms", OF),
        Series::new("bottle diff, 100 files changed", "ms", OF),
        Series::new("peak memory of bottle diff", "MiB", OF),
    ];
    for size in sizes {
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let project = environment.project("project")?;
        files::fill(project.folder(), *size, BYTES)?;
        project.write("bottle.toml", "slug = \"copies\"\n[workspace]\nmode = \"copy\"\n")?;
        let up = cost::of(project.command(&["up"]))?;
        let bottle = RunningBottle::new(project)?;
        let unchanged = cost::usual(|| bottle.command(&["diff", "--names"]))?;
        let change = format!("for n in $(seq 0 {}); do echo changed > d0/f$n; done", CHANGED - 1);
        bottle.run(&["exec", "--", "sh", "-c", &change])?;
        let changed = cost::usual(|| bottle.command(&["diff", "--names"]))?;
        let peak = unchanged.peak.max(changed.peak);
        for (series, figure) in series.iter_mut().zip([up.ms, unchanged.ms, changed.ms, peak]) {
            series.at(*size, figure);
        }
    }
    Ok(series.to_vec())
}
