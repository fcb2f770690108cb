//! `bottle ls`: lists the bottles and their real states.

use super::stats::percent;
use crate::image::size;
use crate::lifecycle::observe::observe;
use crate::lifecycle::state::State;
use crate::pool::shown::rows as warm;
use crate::time::brief;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::out;
use bottle_host::state::Home;
use bottle_host::usage::Usage;
use std::time::Duration;

pub fn ls(all: bool, json: bool) -> Outcome {
    let home = Home::find()?;
    let mut rows = observe(&home)?.rows;
    // A run that has ended leaves nothing but its log.
    rows.retain(|row| all || row.state != State::Ended || row.busy.is_some());
    if all {
        rows.extend(warm(&home)?);
    }
    if json {
        out::json(&rows)?;
        return Ok(());
    }
    let width = rows.iter().map(|row| row.slug.as_str().len()).max().unwrap_or(0).max(12);
    let mut lines = vec![format!(
        "{:<width$}  {:<10} {:<8} {:<8} {:>6} {:>9}  DOORS",
        "BOTTLE", "STATE", "PID", "UPTIME", "CPU", "MEMORY"
    )];
    for row in rows {
        let dash = || "-".to_owned();
        let pid = row.pid.map_or_else(dash, |pid| pid.to_string());
        let usage = |what: fn(&Usage) -> String| row.usage.as_ref().map_or_else(dash, what);
        let uptime = usage(|used| brief(Duration::from_millis(used.uptime_ms)));
        let (cpu, memory) = (usage(|used| percent(used.average())), usage(|used| size(used.memory_bytes)));
        let mut notes: Vec<String> = row.doors.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        let published =
            row.published.iter().map(|one| format!("127.0.0.1:{}->guest:{}", one.host, one.guest));
        notes.extend(published);
        notes.extend(row.why.map(|why| format!("({why})")));
        notes.extend(row.busy.map(|busy| format!("({} is under way)", Line(&busy))));
        lines.push(format!(
            "{:<width$}  {:<10} {pid:<8} {uptime:<8} {cpu:>6} {memory:>9}  {}",
            row.slug.as_str(),
            row.state.word(),
            notes.join(" ")
        ));
    }
    out::line(lines.join("\n"))
}
