//! `bottle inspect`: everything that is known of one bottle, as one JSON object.

use super::context::Context;
use crate::lifecycle::observe::look;
use crate::output::{Inspected, InspectedCopy};
use crate::suggest::no_such;
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::text::Word;
use bottle_host::control;
use bottle_host::failure::Outcome;
use bottle_host::state::Folder;
use bottle_host::workspace::Copy;
use bottle_host::{out, rules, services};

/// What stands in the place of a variable's value, which may be a secret.
const HIDDEN: &str = "(hidden)";

pub fn inspect(context: &Context, slug: Option<Slug>) -> Outcome {
    let folder = context.folder(slug)?;
    let row = look(&folder)?;
    if row.pid.is_none() && !folder.exists() {
        return Err(no_such(folder.slug()));
    }
    let plan = folder.read_plan().ok();
    let rules = plan.as_ref().and_then(|plan| rules::now(&folder, plan).ok());
    let status = folder.has_keeper().then(|| control::status(&folder)).flatten();
    let services = services::read(&folder).ok();
    out::json(&Inspected {
        bottle: row,
        project: folder.owner()?.map(|owner| owner.path),
        plan: plan.map(without_values).transpose()?,
        rules,
        status,
        repositories: services.map(|services| services.git.into_iter().map(|repo| repo.name).collect()),
        copy: copy(&folder)?,
        is_set_up: folder.set_up().exists(),
        state: folder.state().to_owned(),
        audit: folder.audit(),
        decisions: folder.decisions(),
        keeper_log: folder.keeper_log(),
    })
}

/// Hides the values of variables: a person pastes this into a report.
fn without_values(mut plan: Plan) -> Outcome<Plan> {
    let hidden: Word = HIDDEN.parse().map_err(anyhow::Error::from)?;
    plan.guest.env.values_mut().for_each(|value| value.clone_from(&hidden));
    // A setup's commands are a person's own text, and so may be anything.
    plan.setup.run.iter_mut().for_each(|command| command.clone_from(&hidden));
    Ok(plan)
}

fn copy(folder: &Folder) -> Outcome<Option<InspectedCopy>> {
    let copy = Copy::find(folder)?;
    Ok(copy.map(|copy| InspectedCopy { of: copy.of().to_owned(), path: folder.copy() }))
}
