//! `bottle rm`: removes a bottle with its disk. Changes in its copy of the project go to the trash.

use super::changes;
use super::context::Context;
use crate::lifecycle::stop::{nothing_is_unfinished, remove};
use crate::suggest::no_such;
use bottle_core::slug::Slug;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::smolvm::Machine;
use bottle_host::state::{Folder, Home};
use bottle_host::tools;
use bottle_host::workspace::Copy;
use bottle_host::workspace::trash::Trash;

pub fn rm(context: &Context, slug: Option<Slug>, force: bool) -> Outcome {
    let home = Home::find()?;
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let smolvm = tools::smolvm()?;
    let machine = smolvm.machine(slug)?;
    if machine.is_none() && !folder.exists() {
        return Err(no_such(slug));
    }
    nothing_is_unfinished(&folder)?;
    if !force {
        let running = machine.as_ref().is_some_and(Machine::is_running) || folder.has_keeper();
        if running && !(out::is_asked() && out::confirmed(&format!("{slug} is running. Stop it?"))) {
            return Err(Failure::new(Kind::Busy, format!("bottle {slug} is running"))
                .help(format!("`bottle stop {slug}` stops it")));
        }
        keep_work(context, &folder)?;
    }
    let _lock = folder.lock_operation("rm")?;
    fail_point::reached(FailPoint::RmLocked);
    let removed = context.during(slug, "removing it", || remove(&smolvm, &home, &folder, machine.as_ref()));
    let kept = removed?;
    Trash::of(&home).empty(false)?;
    match kept {
        Some(entry) => {
            let changed =
                entry.changed.map_or_else(|| "what".to_owned(), |changed| format!("{changed} paths that"));
            context.say(&format!(
                "{slug} is gone; {changed} its guest changed stay in the trash for 7 days: `bottle trash --restore {}`",
                entry.name
            ));
        }
        None => context.say(&format!("{slug} is gone")),
    }
    Ok(())
}

/// Offers to take the guest's changes back, and asks before they go to the trash.
fn keep_work(context: &Context, folder: &Folder) -> Outcome {
    let slug = folder.slug();
    let count = || -> Outcome<usize> { Ok(Copy::changed(folder)?) };
    let changed = count()?;
    if changed == 0 {
        return Ok(());
    }
    let what = format!("the guest changed {changed} paths of its copy of the project");
    let refused = || {
        Failure::new(Kind::Busy, what.clone()).help(format!(
            "`bottle apply {slug}` takes them back; `bottle rm --force {slug}` moves the copy to the trash, for 7 days"
        ))
    };
    if !out::is_asked() {
        return Err(refused());
    }
    if out::confirmed(&format!("{what}. Take them back into it first?")) {
        match changes::apply(context, Some(slug.clone()), &changes::How::default(), &[]) {
            // Whoever does not want them after all is asked about the trash.
            Err(refused) if refused.kind() == Kind::Negative => {}
            applied => applied?,
        }
    }
    match count()? {
        0 => Ok(()),
        left if out::confirmed(&format!(
            "Move the copy, with {left} changed paths, to the trash for 7 days?"
        )) =>
        {
            Ok(())
        }
        _ => Err(refused()),
    }
}
