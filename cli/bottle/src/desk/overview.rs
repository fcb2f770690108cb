//! All bottles at a glance.

use super::resources::Used;
use super::{pushes, requests};
use crate::lifecycle::observe::{Row, observe};
use crate::lifecycle::state::State;
use bottle_core::visible::Line;
use bottle_host::audit::now_ms;
use bottle_host::control::{self, Answer, Request, Status};
use bottle_host::failure::Outcome;
use bottle_host::state::{Folder, Home};
use bottle_ui::desk::{Bottle, Overview, Usage};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a keeper may take to answer. One that is stuck must not hold up the others for long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old an overview may be. smolvm lists its machines in about this time under emulation.
const FRESH: Duration = Duration::from_millis(800);
/// How old a number of pushes may be: git counts them.
const FRESH_PUSHES: Duration = Duration::from_secs(8);

/// How much of an agent's report is shown, in characters.
const REPORT: usize = 200;

/// The last overview. Several who ask at once get the same one.
#[derive(Default)]
pub struct Glance(Mutex<Last>);

#[derive(Default)]
struct Last {
    overview: Option<(Instant, Overview)>,
    pushes: HashMap<String, (Instant, usize)>,
}

impl Glance {
    /// Returns the overview.
    ///
    /// # Errors
    /// Returns an error if smolvm does not answer, or if the folders cannot be read.
    pub fn overview(&self, home: &Home) -> Outcome<Overview> {
        let mut last = self.lock();
        if let Some((since, overview)) = &last.overview
            && since.elapsed() < FRESH
        {
            return Ok(overview.clone());
        }
        let mut overview = Overview::default();
        for row in observe(home)?.rows {
            // A run that has ended leaves nothing but its log.
            if row.state == State::Ended && row.busy.is_none() {
                continue;
            }
            let folder = home.bottle(&row.slug);
            let status = status(&folder);
            if let Some(status) = &status {
                let waiting = requests::waiting(&folder, PATIENCE);
                let shown = waiting.iter().map(|one| requests::shown(&row.slug, one, &status.rules));
                overview.inbox.extend(shown);
            }
            let pushes = last.pushes(&folder);
            overview.bottles.push(bottle(row, &folder, status.as_deref(), pushes));
        }
        overview.inbox.sort_by_key(|request| request.since_ms);
        last.overview = Some((Instant::now(), overview.clone()));
        Ok(overview)
    }

    /// Forgets the last overview, because something was decided.
    pub fn forget(&self) {
        *self.lock() = Last::default();
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    fn pushes(&mut self, folder: &Folder) -> usize {
        let known = self.pushes.get(folder.slug().as_str());
        if let Some((_, count)) = known.filter(|(since, _)| since.elapsed() < FRESH_PUSHES) {
            return *count;
        }
        let count = pushes::list(folder).map_or(0, |pushes| pushes.len());
        self.pushes.insert(folder.slug().to_string(), (Instant::now(), count));
        count
    }
}

fn status(folder: &Folder) -> Option<Box<Status>> {
    if !folder.has_keeper() {
        return None;
    }
    match control::ask_within(PATIENCE, folder, &Request::Status) {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    }
}

fn bottle(row: Row, folder: &Folder, status: Option<&Status>, pushes: usize) -> Bottle {
    let project = folder.owner().ok().flatten().map(|owner| Line(&owner.path).to_string());
    Bottle {
        state: row.state.word(),
        why: row.why.or_else(|| {
            (status.is_none() && row.state == State::Running).then(|| "its keeper does not answer".to_owned())
        }),
        busy: row.busy.map(|busy| Line(&busy).to_string()),
        doors: row.doors,
        project,
        uptime_s: status.map(|status| status.uptime_s),
        guest: status.map(|status| status.guest),
        report: status.and_then(|status| status.report.as_deref()).map(short),
        usage: status.map(|status| usage(row.pid, folder, status)),
        pushes,
        has_copy: folder.copy_record().exists(),
        log_failing: status.is_some_and(|status| status.log_failing),
        slug: row.slug,
    }
}

/// Returns an agent's report on one line. `bottle status` has all of it.
fn short(report: &str) -> String {
    Line(&report.chars().take(REPORT).collect::<String>()).to_string()
}

fn usage(pid: Option<i32>, folder: &Folder, status: &Status) -> Usage {
    let guest = folder.read_plan().ok().map(|plan| plan.guest);
    let Used { cpu_ms, memory, read, written } = pid.map(Used::by).unwrap_or_default();
    Usage {
        at_ms: now_ms(),
        cpu_ms,
        cpus: guest.as_ref().map_or(1, |guest| guest.cpus),
        memory,
        memory_limit: guest.map_or(0, |guest| u64::from(guest.memory_mib) << 20),
        received: status.counters.bytes_to_guest,
        sent: status.counters.bytes_from_guest,
        read,
        written,
    }
}
