//! Observes which bottles there are, and the real state of each.

use super::state::{Facts, State};
use crate::publish::record;
use bottle_core::slug::Slug;
use bottle_core::specification::Published;
use bottle_host::failure::Outcome;
use bottle_host::smolvm::Machine;
use bottle_host::state::{Folder, Home};
use bottle_host::tools;
use bottle_host::usage::{Clock, Usage};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

/// One bottle.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Row {
    /// Its name.
    pub slug: Slug,
    /// Its state.
    #[serde(serialize_with = "word")]
    #[schemars(with = "String", extend("enum" = ["running", "ephemeral", "stopped", "broken", "ended", "warm"]))]
    pub state: State,
    /// What is wrong, and the command that fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command that is changing it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// The process of its machine, if it runs.
    pub pid: Option<i32>,
    /// What its machine's process has used, if it runs.
    pub usage: Option<Usage>,
    /// The guest's ports that this machine can reach now.
    pub published: Vec<Published>,
    /// The ports of its doors, by sidecar.
    pub doors: BTreeMap<String, u16>,
}

fn word<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}

/// The bottles of this state folder, and machines that look like bottles of another one.
pub struct Observed {
    /// The bottles, in the order of their names.
    pub rows: Vec<Row>,
    /// Machines with a bottle's name and label that this state folder does not know.
    pub foreign: Vec<Machine>,
    /// Machines of this state folder's pool.
    pub warm: Vec<Machine>,
}

/// Looks at what runs and at what is recorded. What is recorded is read while smolvm answers, so that it costs no time of
/// its own.
///
/// # Errors
/// Returns an error if smolvm does not answer, or if the folders cannot be read.
pub fn observe(home: &Home) -> Outcome<Observed> {
    let (machines, recorded) = thread::scope(|scope| {
        let machines = scope.spawn(|| -> Outcome<_> { Ok(tools::smolvm()?.machines()?) });
        let recorded = recorded(home);
        (machines.join().unwrap_or_else(|panic| resume_unwind(panic)), recorded)
    });
    let mut recorded = recorded?;
    let id = home.id();
    let is_ours = |machine: &Machine, slug: &Slug| {
        // Machines of older versions do not say which state folder they belong to. The records do.
        machine.is_of(&id).unwrap_or_else(|| home.bottle(slug).machine_smolfile().exists())
    };
    let (mut ours, mut foreign, mut warm) = (BTreeMap::new(), Vec::new(), Vec::new());
    for machine in machines? {
        match machine.bottle() {
            Some(slug) if is_ours(&machine, &slug) => _ = ours.insert(slug, machine),
            Some(_) => foreign.push(machine),
            None if machine.pool_id().is_some() && machine.is_of(&id) == Some(true) => warm.push(machine),
            None => {}
        }
    }
    let slugs: BTreeSet<Slug> = ours.keys().chain(recorded.keys()).cloned().collect();
    let clock = Clock::now();
    let rows = slugs.into_iter().map(|slug| {
        let folder = home.bottle(&slug);
        let machine = ours.get(&slug);
        let known = recorded.remove(&slug).unwrap_or_else(|| Recorded::of(&folder));
        match row(slug.clone(), known, machine, clock.as_ref()) {
            // Perhaps it changed while smolvm answered.
            Row { state: State::Broken(_), .. } => row(slug, Recorded::of(&folder), machine, clock.as_ref()),
            row => row,
        }
    });
    Ok(Observed { rows: rows.collect(), foreign, warm })
}

fn recorded(home: &Home) -> Outcome<BTreeMap<Slug, Recorded>> {
    let folders = home.bottles()?;
    Ok(folders.iter().map(|folder| (folder.slug().clone(), Recorded::of(folder))).collect())
}

/// Looks at one bottle. Asks smolvm once, as for all of them.
///
/// # Errors
/// Returns an error if smolvm does not answer.
pub fn look(folder: &Folder) -> Outcome<Row> {
    let machine = tools::smolvm()?.machine(folder.slug())?;
    let ours = machine.filter(|machine| machine.is_of(&folder.state_id()) != Some(false));
    Ok(row(folder.slug().clone(), Recorded::of(folder), ours.as_ref(), Clock::now().as_ref()))
}

/// What the files of one bottle show.
struct Recorded {
    busy: Option<String>,
    has_keeper: bool,
    has_sockets: bool,
    /// Its doors, if its plan can be read.
    doors: Option<BTreeMap<String, u16>>,
    published: Vec<Published>,
}

impl Recorded {
    fn of(folder: &Folder) -> Self {
        let busy = folder.busy_with();
        let plan = folder.read_plan().ok();
        Self {
            busy,
            has_sockets: folder.control().exists() && folder.guest_socket().exists(),
            has_keeper: folder.has_keeper(),
            doors: plan.map(|plan| plan.doors.iter().map(|(s, p)| (s.to_string(), p)).collect()),
            published: record::published(folder),
        }
    }
}

fn row(slug: Slug, recorded: Recorded, machine: Option<&Machine>, clock: Option<&Clock>) -> Row {
    let Recorded { busy, has_keeper, has_sockets, doors, published } = recorded;
    let state = State::from(Facts {
        machine: machine.map(Machine::is_running),
        keeper: has_keeper,
        sockets: has_sockets,
        plan: doors.is_some(),
        busy: busy.is_some(),
    });
    let why = match state {
        State::Broken(why) => Some(why.to_string()),
        _ => None,
    };
    let pid = machine.filter(|machine| machine.is_running()).and_then(|machine| machine.pid);
    let usage = pid.zip(clock).and_then(|(pid, clock)| Usage::at(clock, pid));
    Row { slug, state, why, busy, pid, usage, published, doors: doors.unwrap_or_default() }
}
