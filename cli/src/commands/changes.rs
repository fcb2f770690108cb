//! `bottle diff` and `bottle apply`: what the guest changed in its copy of the project.

use super::context::Context;
use crate::failure::{Failure, Kind, Outcome};
use crate::out;
use crate::state::Home;
use crate::trust;
use crate::workspace::Copy;
use crate::workspace::changes::Change;
use bottle_core::slug::Slug;
use std::path::{Component, Path, PathBuf};

pub fn diff(context: &Context, slug: Option<Slug>, names: bool, json: bool, paths: &[PathBuf]) -> Outcome {
    let (copy, changes) = changes(context, slug, paths)?;
    if json {
        out::json(&changes)?;
        return Ok(());
    }
    for change in &changes {
        if names {
            out::line(change)?;
        } else {
            out::text(copy.show(change)?)?;
        }
    }
    if changes.is_empty() {
        context.say("the guest has changed nothing");
    }
    Ok(())
}

/// How changes are taken back.
pub struct How {
    pub overwrite: bool,
    pub dry_run: bool,
    pub yes: bool,
}

pub fn apply(context: &Context, slug: Option<Slug>, how: &How, paths: &[PathBuf]) -> Outcome {
    let _lock = context.folder(slug.clone())?.lock_operation("apply")?;
    let (mut copy, changes) = changes(context, slug, paths)?;
    if changes.is_empty() {
        context.say("there is nothing to take back");
        return Ok(());
    }
    for change in &changes {
        out::line(change)?;
    }
    let question = format!("Take this into {}?", copy.of().display());
    if how.dry_run || !(how.yes || out::confirmed(&question)) {
        return Ok(());
    }
    // Before it: what is cut off has brought something, too.
    trust::touched(&Home::find()?, copy.of())?;
    let applied = copy.apply(changes, how.overwrite)?;
    context.say(&format!("{} taken, {} left in the guest", applied.taken.len(), applied.kept.len()));
    if applied.taken.is_empty() {
        return Err(Failure::new(Kind::Usage, "nothing could be taken back; the list says why"));
    }
    Ok(())
}

fn changes(context: &Context, slug: Option<Slug>, paths: &[PathBuf]) -> Outcome<(Copy, Vec<Change>)> {
    let folder = context.folder(slug)?;
    let copy = Copy::find(&folder)?.ok_or_else(|| {
        Failure::new(Kind::NoBottle, format!("the guest of {} has no copy of a project", folder.slug()))
            .help("with `[workspace] mode = \"copy\"` in bottle.toml it works on one")
    })?;
    let mut changes = copy.changes()?;
    if !paths.is_empty() {
        let wanted: Vec<PathBuf> = paths.iter().map(|path| plain(path)).collect();
        changes.retain(|change| wanted.iter().any(|wanted| change.path.starts_with(wanted)));
    }
    Ok((copy, changes))
}

/// A path as changes have it: `./a/` is `a`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
