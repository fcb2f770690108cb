//! `bottle ls`: lists the bottles and their real states.

use crate::lifecycle::observe::observe;
use crate::lifecycle::state::State;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::state::Home;
use bottle_host::{out, outln};

pub fn ls(all: bool, json: bool) -> Outcome {
    let mut rows = observe(&Home::find()?)?.rows;
    // A run that has ended leaves nothing but its log.
    rows.retain(|row| all || row.state != State::Ended || row.busy.is_some());
    if json {
        out::json(&rows)?;
        return Ok(());
    }
    let width = rows.iter().map(|row| row.slug.as_str().len()).max().unwrap_or(0).max(12);
    outln!("{:<width$}  {:<10} {:<8} DOORS", "BOTTLE", "STATE", "PID")?;
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let mut notes: Vec<String> = row.doors.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        notes.extend(row.why.map(|why| format!("({why})")));
        notes.extend(row.busy.map(|busy| format!("({} is under way)", Line(&busy))));
        outln!("{:<width$}  {:<10} {pid:<8} {}", row.slug.as_str(), row.state.word(), notes.join(" "))?;
    }
    Ok(())
}
