//! `bottle rm`: a bottle is gone, with its disk.

use super::context::Context;
use crate::lifecycle::stop::remove;
use crate::suggest::no_such;
use bottle_core::slug::Slug;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Machine;
use bottle_host::tools;
use bottle_host::workspace::Copy;

pub fn rm(context: &Context, slug: Option<Slug>, force: bool) -> Outcome {
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let smolvm = tools::smolvm()?;
    let machine = smolvm.machine(slug)?;
    if machine.is_none() && !folder.exists() {
        return Err(no_such(slug));
    }
    let running = machine.as_ref().is_some_and(Machine::is_running) || folder.has_keeper();
    if running && !force {
        return Err(Failure::new(Kind::Busy, format!("bottle {slug} is running"))
            .help(format!("stop it first, or `bottle rm --force {slug}`")));
    }
    let _lock = folder.lock_operation("rm")?;
    fail_point::reached(FailPoint::RmLocked);
    let changed = if force { 0 } else { Copy::changed(&folder)? };
    if changed > 0 {
        return Err(Failure::new(
            Kind::Busy,
            format!("the guest changed {changed} paths of its copy of the project"),
        )
        .help(format!(
            "`bottle apply {slug}` takes them back, `bottle rm --force {slug}` throws them away"
        )));
    }
    remove(&smolvm, &folder, machine.as_ref())?;
    context.say(&format!("{slug} is gone"));
    Ok(())
}
