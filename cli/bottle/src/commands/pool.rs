//! `bottle pool`: lists the machines that are kept ready, and removes them.

use super::context::Context;
use crate::image::size;
use crate::pool::ask::ask_for_none;
use crate::pool::shown::{machines, said};
use crate::time::brief;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::pool::Entry;
use bottle_host::state::Home;
use bottle_host::usage::Usage;
use bottle_host::{out, outln, tools};
use std::time::Duration;

pub fn pool(context: &Context, drain: bool, json: bool) -> Outcome {
    let home = Home::find()?;
    if drain {
        return self::drain(context, &home);
    }
    let machines = machines(&home)?;
    if json {
        return out::json(&machines);
    }
    if machines.is_empty() {
        context.say(
            "no machine is ready; `[pool] warm = 1` in your own defaults keeps one, from the next run on",
        );
    } else {
        outln!("{:<14} {:<6} {:>8} {:>9}  {:<24} FOR", "MACHINE", "STATE", "UPTIME", "MEMORY", "GUEST")?;
    }
    for machine in machines {
        let usage = |what: fn(&Usage) -> String| machine.usage.as_ref().map_or_else(|| "-".to_owned(), what);
        let uptime = usage(|used| brief(Duration::from_millis(used.uptime_ms)));
        let memory = usage(|used| size(used.memory_bytes));
        let image = machine.image.as_ref().map_or("bare Alpine", |image| image.as_str());
        let guest = format!(
            "{}, {} processors, {} MiB",
            image.chars().take(19).collect::<String>(),
            machine.cpus.unwrap_or_default(),
            machine.memory_mib.unwrap_or_default()
        );
        let is_for = match (&machine.held_by, machine.copies) {
            (Some(by), _) => Line(by).to_string(),
            (None, Some(true)) => "a copy of a project".to_owned(),
            (None, _) => "no project".to_owned(),
        };
        let word = machine.state.word();
        outln!("{:<14} {word:<6} {uptime:>8} {memory:>9}  {guest:<24} {is_for}", machine.slug.as_str())?;
    }
    if let Some(said) = said(&home) {
        context.say(&format!("lately: {}", Line(&said)));
    }
    Ok(())
}

/// Removes the machines that wait. One that a run has is the run's.
fn drain(context: &Context, home: &Home) -> Outcome {
    ask_for_none(home)?;
    let smolvm = tools::smolvm()?;
    let mut removed = 0;
    for entry in Entry::all(home)? {
        if let Some(claim) = entry.claim_to_remove("`bottle pool`")? {
            claim.kill();
            claim.remove(&smolvm)?;
            removed += 1;
        }
    }
    context.say(&format!("{removed} removed"));
    Ok(())
}
