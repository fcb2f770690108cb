//! `bottle trash`: lists, restores and removes copies that were removed with work in them.

use super::context::Context;
use crate::config::found::shown;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use bottle_host::workspace::trash::{KEPT, Trash};
use bottle_host::{out, outln};

/// What to do with the trash.
pub struct How {
    pub now: bool,
    pub restore: Option<String>,
    pub json: bool,
}

pub fn trash(context: &Context, how: &How) -> Outcome {
    let home = Home::find()?;
    let trash = Trash::of(&home);
    if let Some(name) = &how.restore {
        return restore(context, &home, &trash, name);
    }
    let removed = trash.empty(how.now)?;
    if how.now {
        context.say(&format!("{removed} removed"));
        return Ok(());
    }
    let entries = trash.entries()?;
    if how.json {
        return out::json(&entries);
    }
    if entries.is_empty() {
        context.say("the trash is empty");
    }
    for entry in entries {
        let changed = entry.changed.map_or_else(|| "?".to_owned(), |changed| changed.to_string());
        outln!(
            "{:<20} {changed:>6} changed  of {}  until {}",
            entry.name,
            shown(&entry.of),
            humantime::format_rfc3339_seconds(entry.removed + KEPT)
        )?;
    }
    Ok(())
}

/// Gives a copy back to its bottle, so that `diff` and `apply` find it.
fn restore(context: &Context, home: &Home, trash: &Trash, name: &str) -> Outcome {
    let entry = trash.entries()?.into_iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| {
        Failure::new(Kind::NoBottle, format!("there is no {name} in the trash"))
            .help("`bottle trash` lists it")
    })?;
    let folder = home.bottle(&entry.slug);
    let _lock = folder.lock_operation("trash")?;
    if folder.copy().exists() {
        return Err(Failure::new(
            Kind::Busy,
            format!("bottle {} has a copy of a project already", entry.slug),
        )
        .help(format!("`bottle rm {}` removes that one", entry.slug)));
    }
    trash.restore(&entry, &folder)?;
    folder.belong_to(&entry.of)?;
    let slug = &entry.slug;
    context.say(&format!("`bottle diff {slug}` shows what it has, `bottle apply {slug}` takes it back"));
    Ok(())
}
