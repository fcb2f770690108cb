//! `bottle stop`: ends the machine and the keeper. Disk, copy and log stay.

use super::context::Context;
use crate::lifecycle::stop;
use crate::suggest::no_such;
use bottle_core::slug::Slug;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::Outcome;
use bottle_host::tools;

pub fn stop(context: &Context, slug: Option<Slug>) -> Outcome {
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let smolvm = tools::smolvm()?;
    // A lock makes a folder, and there is none for a bottle that is not there.
    if !folder.exists() && smolvm.machine(slug)?.is_none() {
        return Err(no_such(slug));
    }
    let _lock = folder.lock_operation("stop")?;
    fail_point::reached(FailPoint::StopLocked);
    let Some(machine) = smolvm.machine(slug)? else {
        return Err(no_such(slug));
    };
    if machine.is_running() {
        context.progress(&format!("stopping {slug}"));
    } else if !folder.has_keeper() {
        context.say(&format!("{slug} is stopped already"));
    }
    context.during(slug, "stopping its machine", || stop::stop(&smolvm, &folder, &machine))
}
