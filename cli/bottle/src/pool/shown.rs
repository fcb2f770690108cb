//! What a person sees of the pool.

use crate::lifecycle::observe::Row;
use crate::lifecycle::state::State;
use bottle_core::slug::Slug;
use bottle_core::text::ImageDigest;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::peer::Process;
use bottle_host::pool::{Booted, Entry, Shape, Standing, has_warmer};
use bottle_host::state::{Home, write_private};
use bottle_host::usage::Usage;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// A machine of the pool.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Machine {
    /// Its name, as `bottle ls --all` has it.
    pub slug: Slug,
    /// What becomes of it.
    pub state: Waits,
    /// The process that has it, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// The image that it was started from. Without one it is smolvm's bare Alpine.
    pub image: Option<ImageDigest>,
    /// The number of its processors.
    pub cpus: Option<u8>,
    /// Its memory, in MiB.
    pub memory_mib: Option<u32>,
    /// Whether it is for bottles that work on a copy of a project.
    pub copies: Option<bool>,
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// What its process has used, if it runs.
    pub usage: Option<Usage>,
}

/// What becomes of a machine of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// It waits for a run.
    Waits,
    /// A process has it: it is started, it belongs to a run, or it is removed.
    Held,
    /// The process that had it, or that kept the pool, has died. It is removed at the next run, or by a cleanup.
    Left,
}

impl Waits {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Held => "held",
            Self::Left => "left",
        }
    }
}

/// Lists the machines of the pool.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn machines(home: &Home) -> Outcome<Vec<Machine>> {
    let is_kept = has_warmer(home);
    let machines = Entry::all(home)?.into_iter().filter_map(|entry| {
        let (state, held_by) = match entry.standing() {
            Standing::Held(by) => (Waits::Held, Some(by)),
            Standing::Waits if is_kept => (Waits::Waits, None),
            // Nobody would remove it when its time is over.
            Standing::Waits | Standing::Left => (Waits::Left, None),
        };
        let record = entry.read().ok();
        let pid = record.as_ref().and_then(|record| record.booted).and_then(Booted::process);
        let pid = pid.map(Process::pid);
        let shape = record.map(|record| record.shape);
        Some(Machine {
            slug: slug(&entry)?,
            state,
            held_by,
            image: shape.as_ref().and_then(|shape| shape.image.as_ref()).map(|image| image.digest.clone()),
            cpus: shape.as_ref().map(|shape| shape.cpus),
            memory_mib: shape.as_ref().map(|shape| shape.memory_mib),
            copies: shape.as_ref().map(|shape| shape.copies),
            pid,
            usage: pid.and_then(Usage::of),
        })
    });
    Ok(machines.collect())
}

/// Returns how many machines of a shape wait for a run.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn waiting(home: &Home, shape: &Shape) -> Outcome<usize> {
    let waits = |entry: &Entry| {
        entry.standing() == Standing::Waits && entry.read().is_ok_and(|record| record.shape == *shape)
    };
    Ok(Entry::all(home)?.iter().filter(|entry| waits(entry)).count())
}

/// Returns the name of a machine of the pool, which no bottle has.
pub fn slug(entry: &Entry) -> Option<Slug> {
    format!("pool-{}", entry.id()).parse().ok()
}

/// Returns the machines that are nobody's bottle, as rows of `bottle ls --all`.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn rows(home: &Home) -> Outcome<Vec<Row>> {
    let row = |machine: Machine| Row {
        slug: machine.slug,
        state: State::Warm,
        why: (machine.state == Waits::Left)
            .then(|| "nobody keeps it; `bottle cleanup` removes it".to_owned()),
        busy: machine.held_by,
        pid: machine.pid,
        usage: machine.usage,
        published: Vec::new(),
        doors: BTreeMap::new(),
    };
    Ok(machines(home)?.into_iter().map(row).collect())
}

fn last(home: &Home) -> PathBuf {
    home.pool_records().join("last")
}

/// Remembers what the warmer did last, for a person.
pub fn say(home: &Home, what: &str) {
    let _ = write_private(&last(home), Line(what).to_string().as_bytes());
}

/// Returns what the warmer did last.
pub fn said(home: &Home) -> Option<String> {
    fs::read_to_string(last(home)).ok()
}
