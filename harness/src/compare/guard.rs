//! What the guard and its pump cost: the same path with both replaced by a bare copy.

use super::report::{Better, Figures, Report};
use crate::ground::{Ground, Guest};
use crate::parts::{Behind, Built, Parts};
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use bottle_guest::flow::{self, Direction};
use std::process::Stdio;

/// MiB of a flow: a second or so.
const MIB: u64 = 1024;
/// A bare copy is at most so much faster.
const GOAL: f64 = 0.95;

pub fn compare(place: &Place, rounds: usize, report: &mut Report) -> Result<()> {
    let grounds = [Ground::new(place, Guest::Namespace)?, Ground::new(place, Guest::Namespace)?];
    let mut ways = Vec::new();
    for (ground, guard) in grounds.iter().zip([true, false]) {
        // Behind the kernel, which is fast, a cost is seen best.
        ways.push((ground, Built::new(Parts { guard, behind: Behind::Kernel }, ground, flow::serve)?));
    }
    for direction in Direction::BOTH {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for ((ground, built), figures) in ways.iter().zip(&mut figures) {
                figures.push(megabytes_per_second(ground, built, direction)?);
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

fn megabytes_per_second(ground: &Ground, built: &Built, direction: Direction) -> Result<f64> {
    let (proxy, doors) = (built.plan().subnet.proxy(), &built.plan().doors);
    let door = format!("{proxy}:{}", doors.pipelock());
    let words = ["flow", &door, &direction.to_string(), &MIB.to_string()];
    let output = built.guest(ground, &words)?.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "a flow: {}", String::from_utf8_lossy(&output.stderr));
    flow::rate(MIB, &output.stdout).context("a flow's seconds")
}
