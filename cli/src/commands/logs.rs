//! `bottle logs` and `bottle audit`: what a bottle's parts decided.

use super::context::Context;
use crate::failure::{Failure, Kind, Outcome};
use crate::keeper::audit::{self, Chain, Entry};
use bottle_core::slug::Slug;
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

pub fn logs(context: &Context, slug: Option<Slug>, denied: bool, follow: bool) -> Outcome {
    let folder = context.folder(slug)?;
    let path = folder.audit();
    if !path.exists() {
        return Err(Failure::new(Kind::NoBottle, format!("bottle {} has no log", folder.slug())));
    }
    let mut shown = 0;
    loop {
        let entries = audit::read(&path)?;
        let mut out = std::io::stdout().lock();
        for entry in entries.iter().skip(shown) {
            let line = match entry {
                Ok(entry) if denied && entry.event != "refused" => continue,
                Ok(entry) => for_people(entry),
                Err(line) => format!("(not a line of the log) {}", line.escape_debug()),
            };
            // A reader that goes away, `head` say, has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(());
            }
        }
        shown = entries.len();
        if !follow {
            return Ok(());
        }
        drop(out);
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn for_people(entry: &Entry) -> String {
    let details = entry.details.iter().map(|(key, value)| match value {
        // What the guest wrote must not steer the terminal that shows it.
        Value::String(text) => format!(" {key}={}", text.escape_debug()),
        other => format!(" {key}={other}"),
    });
    let details: String = details.collect();
    format!("{} {:<8} {:<10}{details}", clock(entry.time_ms), entry.part, entry.event)
}

/// The time of day, UTC.
fn clock(time_ms: u64) -> String {
    let seconds = time_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60, time_ms % 1000)
}

pub fn audit(context: &Context, slug: Option<Slug>) -> Outcome<ExitCode> {
    let folder = context.folder(slug)?;
    match audit::check(&folder.audit())? {
        Chain::Whole(lines) => {
            println!("{}: {lines} lines, each follows from the one before it", folder.audit().display());
            Ok(ExitCode::SUCCESS)
        }
        Chain::Broken(line) => {
            println!("{}: line {line} does not follow from the one before it", folder.audit().display());
            Ok(ExitCode::FAILURE)
        }
    }
}
