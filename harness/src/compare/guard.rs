//! The cost of the guard and its pump, compared with a bare copy in their place.

use super::report::{Better, Figures, Report};
use crate::assembly::{Assembly, Walls};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use anyhow::{Context, Result, ensure};
use bottle_guest::flow::{self, Direction};
use std::process::Stdio;

/// The MiB of a flow, which takes about a second.
const MIB: u64 = 1024;
/// The share of a bare copy's speed that bottle should at least reach.
const GOAL: f64 = 0.95;

pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    let environments =
        [Environment::new(checkout, Guest::Namespace)?, Environment::new(checkout, Guest::Namespace)?];
    let mut networks = Vec::new();
    for (environment, guard) in environments.iter().zip([true, false]) {
        let walls = Walls { guard, jail: true };
        networks.push((environment, Assembly::new(walls, environment, flow::serve)?));
    }
    for direction in Direction::BOTH {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for ((environment, assembly), figures) in networks.iter().zip(&mut figures) {
                figures.push(megabytes_per_second(environment, assembly, direction)?);
            }
        }
        let [guarded, bare] = figures;
        let figures = [
            Figures { system: "bottle", values: guarded, goal: None },
            Figures { system: "a bare copy", values: bare, goal: Some(GOAL) },
        ];
        report.add(&format!("the guard's cost, {direction} a door"), "MB/s", Better::Higher, &figures);
    }
    Ok(())
}

fn megabytes_per_second(environment: &Environment, assembly: &Assembly, direction: Direction) -> Result<f64> {
    let (proxy, doors) = (assembly.plan().subnet.proxy(), &assembly.plan().doors);
    let door = format!("{proxy}:{}", doors.pipelock());
    let words = ["flow", &door, &direction.to_string(), &MIB.to_string()];
    let output = assembly.guest(environment, &words)?.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "a flow: {}", String::from_utf8_lossy(&output.stderr));
    flow::rate(MIB, &output.stdout).context("a flow's seconds")
}
