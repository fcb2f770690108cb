//! `bottle ls`: what there is, as it really is.

use crate::failure::Outcome;
use crate::preflight;
use crate::smolvm::Machine;
use crate::state::{Folder, Home};
use bottle_core::slug::Slug;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A bottle's state, from what runs and not from what was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its machine runs and its keeper lives.
    Running,
    /// A `bottle run` has it.
    Ephemeral,
    /// Its machine is there and does not run.
    Stopped,
    /// Its machine runs without a keeper: it reaches nothing. `bottle up` mends it.
    Unkept,
    /// Only files are left, of a run that has ended.
    Ended,
}

/// One bottle.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub slug: Slug,
    pub state: State,
    pub pid: Option<i32>,
    pub doors: BTreeMap<String, u16>,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ephemeral => "running (ephemeral)",
            Self::Stopped => "stopped",
            Self::Unkept => "broken: no keeper, reaches nothing; `bottle up` mends it",
            Self::Ended => "ended",
        }
    }
}

/// Every bottle of this user, in the order of their names.
pub fn rows() -> Outcome<Vec<Row>> {
    let home = Home::find()?;
    let machines = preflight::smolvm()?.machines()?;
    let machines: BTreeMap<Slug, Machine> =
        machines.into_iter().filter_map(|machine| Some((machine.bottle()?, machine))).collect();
    let mut slugs: BTreeSet<Slug> = machines.keys().cloned().collect();
    slugs.extend(home.bottles()?.iter().map(|folder| folder.slug().clone()));
    Ok(slugs.into_iter().map(|slug| row(&home.bottle(&slug), machines.get(&slug))).collect())
}

fn row(folder: &Folder, machine: Option<&Machine>) -> Row {
    let state = match (machine.map(Machine::is_running), folder.has_keeper()) {
        (Some(true), true) => State::Running,
        (Some(true), false) => State::Unkept,
        (Some(false), _) => State::Stopped,
        (None, true) => State::Ephemeral,
        (None, false) => State::Ended,
    };
    let doors = folder.read_plan().map(|plan| plan.doors.iter().map(|(s, p)| (s.to_string(), p)).collect());
    let pid = machine.filter(|machine| machine.is_running()).and_then(|machine| machine.pid);
    Row { slug: folder.slug().clone(), state, pid, doors: doors.unwrap_or_default() }
}

pub fn ls(all: bool, json: bool) -> Outcome {
    let mut rows = rows()?;
    // Of a run that has ended there is only its log.
    rows.retain(|row| all || row.state != State::Ended);
    if json {
        println!("{}", serde_json::to_string_pretty(&rows).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    println!("{:<24} {:<20} {:<10} DOORS", "BOTTLE", "STATE", "PID");
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let doors: Vec<String> = row.doors.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        println!("{:<24} {:<20} {pid:<10} {}", row.slug.as_str(), row.state.word(), doors.join(" "));
    }
    Ok(())
}
