//! `bottle undo`: restores the project as it was before the last `bottle apply`.

use super::context::Context;
use crate::desk::changes::unwritten;
use crate::trust;
use bottle_core::slug::Slug;
use bottle_core::visible::Bytes;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Home;
use bottle_host::workspace::{self, KEPT, Undo};
use std::os::unix::ffi::OsStrExt;

/// How to undo.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub dry_run: bool,
    pub yes: bool,
}

pub fn undo(context: &Context, slug: Option<Slug>, how: How) -> Outcome {
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let nothing = || {
        Failure::new(Kind::NoBottle, format!("there is no `bottle apply` of {slug} to undo")).help(format!(
            "the last {KEPT} can be undone, until the bottle is removed; `bottle diff {slug}` shows what the guest has"
        ))
    };
    if !folder.exists() {
        return Err(nothing());
    }
    let _lock = folder.lock_operation("undo")?;
    workspace::recover(&folder)?;
    let Some(undo) = Undo::last(&folder)? else { return Err(nothing()) };
    let changed = undo.changed_since();
    if !changed.is_empty() {
        for path in &changed {
            out::note(format_args!("changed since: {}", Bytes(path.as_os_str().as_bytes())));
        }
        let many = changed.len();
        return Err(Failure::new(
            Kind::Busy,
            format!("{many} of the paths have changed since they were applied, so nothing is undone"),
        )
        .help(format!("what they were before is in {}", undo.place().display())));
    }
    undo.changes().try_for_each(out::line)?;
    let when = humantime::format_rfc3339_seconds(undo.when());
    let question = format!("Undo what was applied to {} at {when}?", undo.project().display());
    if how.dry_run {
        return Ok(());
    }
    if !(how.yes || out::confirmed(&question)) {
        return Err(Failure::new(Kind::Negative, "nothing was undone")
            .help(format!("`bottle undo --yes {slug}` undoes it without asking")));
    }
    trust::touched(&Home::find()?, undo.project())?;
    let many = undo.changes().count();
    undo.carry_out().map_err(unwritten)?;
    context.say(&format!("{many} paths are as they were"));
    Ok(())
}
