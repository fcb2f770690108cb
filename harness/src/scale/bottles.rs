//! More and more bottles.

use super::cost;
use super::series::Series;
use crate::checkout::Checkout;
use crate::compare::measure;
use crate::environment::{Environment, Guest};
use anyhow::Result;

/// Measures commands and keepers beside this many bottles.
pub fn measure(checkout: &Checkout, sizes: &[usize]) -> Result<Vec<Series>> {
    const OF: &str = "bottles";
    let project = Environment::new(checkout, Guest::Namespace)?.project("project")?;
    // A user can have 118 gvproxies or so: each takes one of 128 `inotify` instances.
    project.write("bottle.toml", "[workspace]\nmode = \"none\"\n[network]\nstack = \"sockets\"\n")?;
    let mut series = [
        Series::new("starting one more bottle", "ms", OF),
        Series::new("bottle ls", "ms", OF),
        Series::new("bottle plan", "ms", OF),
        Series::new("private memory of all keepers", "MiB", OF),
    ];
    let mut slugs: Vec<String> = Vec::new();
    let mut keepers = Vec::new();
    let measured = sizes.iter().try_for_each(|size| {
        let mut last = 0.0;
        while slugs.len() < *size {
            let slug = format!("many-{}", slugs.len());
            last = cost::of(project.command(&["up", &slug]))?.ms;
            keepers.extend(project.answer(&["status", "--json", &slug])?["pid"].as_i64());
            slugs.push(slug);
        }
        let memory = keepers.iter().map(|pid| measure::private(*pid)).sum::<Result<f64>>()?;
        let figures = [
            last,
            cost::usual(|| project.command(&["ls"]))?.ms,
            cost::usual(|| project.command(&["plan", "another"]))?.ms,
            memory,
        ];
        for (series, figure) in series.iter_mut().zip(figures) {
            series.at(*size, figure);
        }
        anyhow::Ok(())
    });
    for slug in &slugs {
        let _ = project.run(&["rm", "--force", slug]);
    }
    measured.map(|()| series.to_vec())
}
