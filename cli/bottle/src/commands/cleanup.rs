//! `bottle cleanup`: shows what crashes left behind, and then does exactly what it showed.

use super::context::Context;
use crate::config::found::shown;
use crate::lifecycle::observe::{Row, observe};
use crate::lifecycle::state::{Break, State};
use crate::lifecycle::stop::end_keeper;
use crate::output::{Cleanup, CleanupAction, CleanupStep};
use crate::pool::left;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::out::{self, confirmed};
use bottle_host::outln;
use bottle_host::state::{Folder, Home};
use bottle_host::tools;
use bottle_host::workspace::trash::Trash;
use bottle_host::workspace::{self, Copy};
use std::fmt;
use std::path::PathBuf;

/// One step of a cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Stop a machine that runs without a keeper. Its disk stays.
    StopMachine(Slug),
    /// End a keeper without a machine.
    EndKeeper(Slug),
    /// Remove the sockets and the helper's copy of a bottle that does not run.
    RemoveRuntime(Slug),
    /// Delete a machine whose bottle's files are gone, with its disk.
    DeleteMachine(Slug),
    /// Remove everything of a run that has ended, its log included.
    RemoveState(Slug),
    /// Remove a machine of the pool that nobody keeps, and that is nobody's bottle.
    RemoveWarm(Slug),
    /// Leave a copy of a project in which a guest changed something, or may have.
    Leave(Slug, Option<usize>),
    /// Leave an `apply` that was interrupted, and whose project is not there.
    Interrupted(Slug, PathBuf),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopMachine(slug) => {
                write!(f, "safe        stop the machine of {slug}, which has no keeper; its disk stays")
            }
            Self::EndKeeper(slug) => write!(f, "safe        end the keeper of {slug}, which has no machine"),
            Self::RemoveRuntime(slug) => write!(f, "safe        remove the sockets of {slug}"),
            Self::DeleteMachine(slug) => {
                write!(
                    f,
                    "holds data  delete the machine of {slug} with its disk: its bottle's files are gone"
                )
            }
            Self::RemoveState(slug) => {
                write!(f, "holds data  remove the files and the log of {slug}, whose run has ended")
            }
            Self::RemoveWarm(slug) => {
                write!(
                    f,
                    "safe        remove the machine {slug}, which waited for a run and which nobody keeps"
                )
            }
            Self::Leave(slug, changed) => {
                let changed = changed.map_or_else(
                    || "may have changed something".to_owned(),
                    |changed| format!("changed {changed} paths"),
                );
                write!(
                    f,
                    "left        the copy of {slug}'s project: its guest {changed} (`bottle diff {slug}` shows it, `bottle rm {slug}` asks what to do)"
                )
            }
            Self::Interrupted(slug, project) => {
                write!(
                    f,
                    "left        an interrupted `bottle apply {slug}`, whose project {} is not there (`bottle up --moved {slug}`, where it is now, finishes or undoes it)",
                    shown(project)
                )
            }
        }
    }
}

impl Step {
    /// Returns the step as `--json` prints it.
    fn printed(&self) -> CleanupStep {
        let (bottle, what) = match self {
            Self::StopMachine(slug) => (slug, CleanupAction::StopMachine),
            Self::EndKeeper(slug) => (slug, CleanupAction::EndKeeper),
            Self::RemoveRuntime(slug) => (slug, CleanupAction::RemoveRuntime),
            Self::DeleteMachine(slug) => (slug, CleanupAction::DeleteMachine),
            Self::RemoveState(slug) => (slug, CleanupAction::RemoveState),
            Self::RemoveWarm(slug) => (slug, CleanupAction::RemoveWarm),
            Self::Leave(slug, _) | Self::Interrupted(slug, _) => (slug, CleanupAction::Leave),
        };
        CleanupStep { bottle: bottle.clone(), what, says: self.to_string() }
    }

    /// Returns whether it does anything.
    fn acts(&self) -> bool {
        !matches!(self, Self::Leave(..) | Self::Interrupted(..))
    }
}

/// Returns the steps for one bottle.
fn steps(folder: &Folder, row: &Row) -> Vec<Step> {
    let slug = &row.slug;
    let mut steps = Vec::new();
    // A bottle that a command is changing now was not left behind.
    if row.busy.is_some() {
        return steps;
    }
    match row.state {
        State::Running | State::Ephemeral | State::Broken(Break::Unreachable) => return steps,
        State::Broken(Break::Unkept) => steps.push(Step::StopMachine(slug.clone())),
        State::Broken(Break::Homeless) => steps.push(Step::EndKeeper(slug.clone())),
        State::Broken(Break::Unplanned) => steps.push(Step::DeleteMachine(slug.clone())),
        State::Stopped | State::Ended | State::Warm => {}
    }
    if folder.guest_socket().exists() || folder.control().exists() || folder.helper_dir().exists() {
        steps.push(Step::RemoveRuntime(slug.clone()));
    }
    if matches!(row.state, State::Ended | State::Broken(Break::Unplanned)) {
        // A copy that cannot be compared, for example because the project is gone, is kept.
        steps.push(match (workspace::unfinished(folder), Copy::changed(folder).ok()) {
            (Ok(Some(unfinished)), _) => Step::Interrupted(slug.clone(), unfinished.project),
            (Ok(None), Some(0)) => Step::RemoveState(slug.clone()),
            (_, changed) => Step::Leave(slug.clone(), changed.filter(|changed| *changed > 0)),
        });
    }
    steps
}

/// How to clean up.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub dry_run: bool,
    pub yes: bool,
    pub json: bool,
}

pub fn cleanup(context: &Context, how: How) -> Outcome {
    let How { dry_run, yes, json } = how;
    let home = Home::find()?;
    let observed = observe(&home)?;
    let mut plan = Vec::new();
    for row in &observed.rows {
        plan.extend(steps(&home.bottle(&row.slug), row));
    }
    plan.extend(left::all(&home, &observed.warm)?.into_iter().map(Step::RemoveWarm));
    let shown: &[Step] = if json { &[] } else { &plan };
    for step in shown {
        out::line(step)?;
    }
    for machine in observed.foreign.iter().filter(|_| !json) {
        outln!(
            "left        the machine {}, of a bottle that this state folder does not know (smolvm machine delete --name {} -f)",
            Line(&machine.name),
            Line(&machine.name)
        )?;
    }
    let steps: Vec<CleanupStep> = plan.iter().map(Step::printed).collect();
    let mut done = false;
    let does_something = plan.iter().any(Step::acts);
    if !does_something {
        context.say(if plan.is_empty() && observed.foreign.is_empty() {
            "there is nothing to clean up"
        } else {
            "nothing was done: what is left is not bottle's to decide"
        });
    } else if dry_run || !(yes || (!json && confirmed("Do this?"))) {
        context.say("nothing was done");
    } else {
        plan.into_iter().try_for_each(|step| carry_out(&home, step))?;
        done = true;
    }
    if !dry_run && (yes || !json) {
        Trash::of(&home).empty(false)?;
    }
    if json {
        let foreign = observed.foreign.into_iter().map(|machine| machine.name).collect();
        out::json(&Cleanup { steps, foreign, done })?;
    }
    Ok(())
}

fn carry_out(home: &Home, step: Step) -> Outcome {
    match step {
        Step::StopMachine(slug) => tools::smolvm()?.stop(&slug)?,
        Step::EndKeeper(slug) => end_keeper(&home.bottle(&slug))?,
        Step::RemoveRuntime(slug) => home.bottle(&slug).remove_runtime()?,
        Step::DeleteMachine(slug) => tools::smolvm()?.delete(&slug.machine_name())?,
        Step::RemoveWarm(slug) => left::remove(home, &slug)?,
        Step::RemoveState(slug) => home.bottle(&slug).remove()?,
        Step::Leave(..) | Step::Interrupted(..) => {}
    }
    Ok(())
}
