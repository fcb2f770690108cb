//! The conformance check: does a guest reach anything but its doors?
//!
//! [`world`] puts canaries on everything that a guest might reach, [`subject`] builds the networks
//! that are judged, bottle's own and others that must be found leaking, [`questions`] says what a
//! guest tries, [`verdict`] judges, [`report`] shows.

mod questions;
mod report;
mod subject;
mod verdict;
mod world;

use crate::place::Place;
use anyhow::{Context, Result, bail};
use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;
use subject::Subject;
use verdict::{Judged, Verdict};
use world::World;

/// Set in the network namespace that the harness made for its world.
const INSIDE: &str = "BOTTLE_HARNESS_WORLD";
/// Inconclusive runs are tried again, and never count as isolated.
const TRIES: u32 = 3;

/// Judges every subject with a stand-in guest, and writes the reports.
///
/// # Errors
/// Where the world cannot be made.
pub fn main(place: &Place, sabotage: bool) -> Result<ExitCode> {
    if env::var_os(INSIDE).is_none() {
        return in_a_namespace(place, sabotage);
    }
    let world = World::new()?;
    let mut judged = Vec::new();
    println!("{:<12} {:<14} {:>8} {:>7}  note", "subject", "verdict", "tried", "s");
    let subjects = if sabotage { &[Subject::Bottle][..] } else { &Subject::ALL };
    for &subject in subjects {
        let judgment = judge(place, &world, subject, sabotage)?;
        println!("{}", report::row(&judgment));
        judged.push(judgment);
    }
    if !sabotage {
        let folder = place.root().join("target/conformance");
        report::write(&folder, &world, &judged)?;
        println!("reports: {0}/report.json and {0}/report.html", folder.display());
    }
    let wrong: Vec<&str> = judged.iter().filter(|j| !j.is_as_it_must()).map(|j| j.subject.name()).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("not as it must be: {}", wrong.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The world needs addresses and a resolver of its own; so it gets a namespace of its own.
fn in_a_namespace(place: &Place, sabotage: bool) -> Result<ExitCode> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(env::current_exe()?).arg("conformance").env(INSIDE, "1");
    command.envs(place.environment(&[])?);
    if sabotage {
        command.arg("--sabotage");
    }
    let status = command.status().context("unshare")?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        None => bail!("the world ended with {status}"),
    }
}

fn judge(place: &Place, world: &World, subject: Subject, sabotage: bool) -> Result<Judged> {
    let mut last = None;
    for _ in 0..TRIES {
        world.forget();
        let since = Instant::now();
        // The harness must be able to find a hole in bottle itself: with sabotage, there is one.
        let built = if sabotage && subject == Subject::Bottle { Subject::Neither } else { subject };
        let answers = built.probe(place, world);
        // What is still under way has its time to arrive.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let judged = verdict::judge(subject, world, answers, since.elapsed());
        if judged.verdict != Verdict::Inconclusive {
            return Ok(judged);
        }
        last = Some(judged);
    }
    last.context("a subject was never judged")
}
