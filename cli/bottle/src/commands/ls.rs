//! `bottle ls`: what there is, as it really is.

use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::smolvm::Machine;
use bottle_host::state::{Folder, Home};
use bottle_host::tools;
use bottle_host::{out, outln};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// Something of it is there that should not be without the rest.
    Broken(Break),
    /// Only files are left, of a run that has ended.
    Ended,
}

/// What is wrong with a bottle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// Its machine runs without a keeper.
    Unkept,
    /// Its keeper lives without a machine, and no command is under way.
    Homeless,
    /// Its keeper lives, and its sockets are gone.
    Unreachable,
    /// Its machine is there, and its plan is not.
    Unplanned,
}

/// One bottle.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub slug: Slug,
    #[serde(serialize_with = "word")]
    pub state: State,
    /// What is wrong, and what mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command that is changing it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    pub pid: Option<i32>,
    pub doors: BTreeMap<String, u16>,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ephemeral => "ephemeral",
            Self::Stopped => "stopped",
            Self::Broken(_) => "broken",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unkept => "its machine has no keeper and reaches nothing; `bottle up` mends it",
            Self::Homeless => "its keeper has no machine; `bottle cleanup` ends it",
            Self::Unreachable => "its keeper's sockets are gone; `bottle restart` mends it",
            Self::Unplanned => {
                "its files are gone; `bottle up --renew` makes it anew, `bottle rm` removes it"
            }
        })
    }
}

fn word<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}

/// Every bottle of this user, in the order of their names.
pub fn rows() -> Outcome<Vec<Row>> {
    let home = Home::find()?;
    let machines = tools::smolvm()?.machines()?;
    let machines: BTreeMap<Slug, Machine> =
        machines.into_iter().filter_map(|machine| Some((machine.bottle()?, machine))).collect();
    let mut slugs: BTreeSet<Slug> = machines.keys().cloned().collect();
    slugs.extend(home.bottles()?.iter().map(|folder| folder.slug().clone()));
    Ok(slugs.into_iter().map(|slug| row(&home.bottle(&slug), machines.get(&slug))).collect())
}

fn row(folder: &Folder, machine: Option<&Machine>) -> Row {
    let busy = folder.busy_with();
    let plan = folder.read_plan().ok();
    let sockets = folder.control().exists() && folder.guest_socket().exists();
    let state = match (machine.map(Machine::is_running), folder.has_keeper()) {
        (Some(true), true) if !sockets => State::Broken(Break::Unreachable),
        (Some(true), true) => State::Running,
        // A command that is under way has not come to the rest yet.
        (Some(true), false) if busy.is_none() => State::Broken(Break::Unkept),
        (Some(_), false) if plan.is_none() && busy.is_none() => State::Broken(Break::Unplanned),
        (Some(false), true) if busy.is_none() => State::Broken(Break::Homeless),
        (Some(_), _) => State::Stopped,
        (None, true) if busy.is_none() => State::Broken(Break::Homeless),
        (None, true) => State::Ephemeral,
        (None, false) => State::Ended,
    };
    let why = match state {
        State::Broken(why) => Some(why.to_string()),
        _ => None,
    };
    let doors = plan.map(|plan| plan.doors.iter().map(|(s, p)| (s.to_string(), p)).collect());
    let pid = machine.filter(|machine| machine.is_running()).and_then(|machine| machine.pid);
    Row { slug: folder.slug().clone(), state, why, busy, pid, doors: doors.unwrap_or_default() }
}

pub fn ls(all: bool, json: bool) -> Outcome {
    let mut rows = rows()?;
    // Of a run that has ended there is only its log.
    rows.retain(|row| all || row.state != State::Ended || row.busy.is_some());
    if json {
        out::json(&rows)?;
        return Ok(());
    }
    let width = rows.iter().map(|row| row.slug.as_str().len()).max().unwrap_or(0).max(12);
    outln!("{:<width$}  {:<10} {:<8} DOORS", "BOTTLE", "STATE", "PID")?;
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let mut notes: Vec<String> = row.doors.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        notes.extend(row.why.map(|why| format!("({why})")));
        notes.extend(row.busy.map(|busy| format!("({} is under way)", Line(&busy))));
        outln!("{:<width$}  {:<10} {pid:<8} {}", row.slug.as_str(), row.state.word(), notes.join(" "))?;
    }
    Ok(())
}
