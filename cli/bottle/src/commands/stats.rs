//! `bottle stats`: what running bottles take of this machine, measured on the host.

use super::context::Context;
use crate::image::size;
use crate::lifecycle::observe::{Row, look, observe};
use crate::output::{Network, Stat};
use crate::time::brief;
use bottle_core::slug::Slug;
use bottle_host::control;
use bottle_host::failure::Outcome;
use bottle_host::state::Home;
use bottle_host::usage::Usage;
use bottle_host::{out, outln};
use std::thread;
use std::time::{Duration, Instant};

/// How long processor time is measured for one line.
const SAMPLE: Duration = Duration::from_secs(1);
/// How often a follower looks for bottles that have come up.
const SEARCH: Duration = Duration::from_secs(10);

/// Which bottles, and how to print them.
pub struct How {
    pub slug: Option<Slug>,
    pub follow: bool,
    pub json: bool,
}

pub fn stats(context: &Context, how: &How) -> Outcome {
    let home = Home::find()?;
    let mut watched = find(context, &home, how)?;
    let mut searched = Instant::now();
    if !how.json {
        head()?;
    }
    loop {
        let before: Vec<(Row, Usage)> =
            watched.iter().filter_map(|row| Some((row.clone(), Usage::of(row.pid?)?))).collect();
        thread::sleep(SAMPLE);
        let stats: Vec<Stat> = before.iter().filter_map(|(row, used)| stat(&home, row, used)).collect();
        if !how.follow && how.json {
            return out::json(&stats);
        }
        for stat in &stats {
            if how.json {
                out::json_line(stat)?;
            } else {
                line(stat)?;
            }
        }
        // A bottle that was named and has ended will not come back in this command.
        if !how.follow || (stats.is_empty() && how.slug.is_some()) {
            return Ok(());
        }
        if out::is_abandoned() {
            return Err(out::gone());
        }
        if searched.elapsed() > SEARCH && how.slug.is_none() {
            (watched, searched) = (find(context, &home, how)?, Instant::now());
        }
    }
}

/// Returns the bottles whose machines run.
fn find(context: &Context, home: &Home, how: &How) -> Outcome<Vec<Row>> {
    let mut rows = match &how.slug {
        Some(slug) => vec![look(&context.running(Some(slug.clone()))?)?],
        None => observe(home)?.rows,
    };
    rows.retain(|row| row.usage.is_some());
    Ok(rows)
}

/// Measures one bottle since an earlier look, unless its machine has ended.
fn stat(home: &Home, row: &Row, before: &Usage) -> Option<Stat> {
    let used = Usage::of(row.pid?)?;
    let folder = home.bottle(&row.slug);
    let plan = folder.read_plan().ok();
    let network = control::status(&folder).map(|status| Network {
        bytes_from_guest: status.counters.bytes_from_guest,
        bytes_to_guest: status.counters.bytes_to_guest,
        refused: status.counters.refused.values().sum(),
    });
    Some(Stat {
        bottle: row.slug.clone(),
        cpu_permille: used.since(before),
        memory_limit_bytes: plan.as_ref().map(|plan| u64::from(plan.guest.memory_mib) << 20),
        cpus: plan.map(|plan| plan.guest.cpus),
        used,
        network,
    })
}

/// Writes tenths of a percent.
pub fn percent(tenths: u64) -> String {
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn head() -> Outcome {
    outln!(
        "{:<20} {:<8} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "BOTTLE",
        "UPTIME",
        "CPU",
        "MEMORY",
        "LIMIT",
        "SENT",
        "RECEIVED",
        "REFUSED"
    )
}

fn line(stat: &Stat) -> Outcome {
    let dash = || "-".to_owned();
    let network = |what: fn(&Network) -> String| stat.network.as_ref().map_or_else(dash, what);
    outln!(
        "{:<20} {:<8} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}",
        stat.bottle.as_str(),
        brief(Duration::from_millis(stat.used.uptime_ms)),
        percent(stat.cpu_permille),
        size(stat.used.memory_bytes),
        stat.memory_limit_bytes.map_or_else(dash, size),
        network(|network| size(network.bytes_from_guest)),
        network(|network| size(network.bytes_to_guest)),
        network(|network| network.refused.to_string())
    )
}
