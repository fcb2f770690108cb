//! More and more rules of the egress proxy.

use super::cost;
use super::series::Series;
use super::tunnels::{Held, opened};
use crate::checkout::Checkout;
use crate::compare::measure;
use crate::environment::{Environment, Guest};
use anyhow::Result;
use std::fmt::Write;

/// Measures a bottle with this many allowed hosts. The one that is reached is the last.
pub fn measure(checkout: &Checkout, sizes: &[usize]) -> Result<Vec<Series>> {
    const OF: &str = "rules";
    /// How many tunnels are opened, one after the other.
    const TUNNELS: usize = 200;
    let mut series = [
        Series::new("bottle plan with many rules", "ms", OF),
        Series::new("bottle up with many rules", "ms", OF),
        Series::new("opening a tunnel beside many rules", "us", OF),
        Series::new("private memory of a keeper with many rules", "MiB", OF),
    ];
    for size in sizes {
        let host = Held::listen()?;
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let mut allow = String::new();
        for n in 1..*size {
            let _ = write!(allow, "\"host-{n}.example.com\", ");
        }
        let project = environment.small_project("rules", &host.allowed(&allow, checkout)?)?;
        let planned = cost::usual(|| project.command(&["plan"]))?;
        let up = cost::of(project.command(&["up"]))?;
        let bottle = crate::environment::RunningBottle::new(project)?;
        let (each, _open) = opened(&bottle, &host, TUNNELS)?;
        let memory = measure::private(bottle.status()?.pid.into())?;
        for (series, figure) in series.iter_mut().zip([planned.ms, up.ms, each, memory]) {
            series.at(*size, figure);
        }
    }
    Ok(series.to_vec())
}
