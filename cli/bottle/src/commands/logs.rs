//! `bottle logs` and `bottle audit`: what a bottle's parts decided.

use super::context::Context;
use crate::output::{BrokenLine, ChainCheck, GoneLines};
use anstyle::{AnsiColor, Style};
use bottle_core::slug::Slug;
use bottle_core::visible;
use bottle_host::audit::{self, Chain, Checked, Entry, Gone, Line, Merged};
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Folder;
use bottle_host::{out, outln};
use serde_json::Value;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often to look for new lines.
pub(super) const GLANCE: Duration = Duration::from_millis(200);

/// The lines to show.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub denied: bool,
    pub follow: bool,
    pub since: Option<SystemTime>,
}

pub fn logs(context: &Context, slug: Option<Slug>, shown: Shown) -> Outcome {
    let folder = with_log(context, slug)?;
    let mut lines = Merged::new(&folder.audit(), &folder.decisions())?;
    loop {
        while let Some(line) = lines.next_line()? {
            if !shown.includes(&line) {
                continue;
            }
            match line {
                Ok(entry) => out::styled(&for_people(&entry))?,
                Err(line) => outln!("(not a line of the log) {}", visible::Line(&line))?,
            }
        }
        if !shown.follow {
            return Ok(());
        }
        if out::is_abandoned() {
            return Err(out::gone());
        }
        thread::sleep(GLANCE);
    }
}

impl Shown {
    fn includes(self, line: &Line) -> bool {
        line.as_ref().map_or(true, |entry| self.includes_entry(entry))
    }

    /// Returns whether a line of the log is one of those to show.
    pub(super) fn includes_entry(self, entry: &Entry) -> bool {
        // Two logs are shown as one. Only `audit` cares that one refers to the other.
        let refers = entry.part == "audit" && matches!(entry.event.as_str(), "decided" | "continued");
        !refers
            && (!self.denied || entry.event == "refused")
            && self.since.is_none_or(|since| entry.time() >= since)
    }
}

/// Formats a line for people, with the event in its colour.
pub(super) fn for_people(entry: &Entry) -> [(Style, String); 3] {
    let details = entry.details.iter().map(|(key, value)| match value {
        Value::String(text) => format!(" {key}={}", visible::Line(text)),
        other => format!(" {key}={}", visible::Line(&other.to_string())),
    });
    let (time, plain) = (humantime::format_rfc3339_millis(entry.time()), Style::new());
    let (part, event) = (visible::Line(&entry.part).to_string(), visible::Line(&entry.event).to_string());
    [
        (plain, format!("{time} {part:<9} ")),
        (style(&entry.event), format!("{event:<10}")),
        (plain, details.collect()),
    ]
}

fn style(event: &str) -> Style {
    match event {
        "refused" | "denied" => AnsiColor::Red.on_default(),
        "allowed" | "approved" => AnsiColor::Green.on_default(),
        "failed" | "lost" | "torn" | "sidecar-ended" | "gvproxy-ended" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

pub fn audit(context: &Context, slug: Option<Slug>, check: bool, json: bool) -> Outcome {
    let folder = with_log(context, slug)?;
    let (path, decisions) = (folder.audit(), folder.decisions());
    if !check {
        let mut lines = Merged::new(&path, &decisions)?;
        while let Some(line) = lines.next_line()? {
            match line {
                Ok(entry) => out::json_line(&entry)?,
                Err(line) => out::line(line)?,
            }
        }
        return Ok(());
    }
    let chain = audit::check(&path, &decisions)?;
    if json {
        out::json(&printed(&chain))?;
    }
    let say = |line: String| if json { Ok(()) } else { out::line(line) };
    match chain {
        Chain::Whole(checked) => {
            let follow = "each follows from the one before it";
            say(format!("{}: {} decisions, {follow}", decisions.display(), checked.decisions))?;
            say(format!("{}: {} lines, {follow}", path.display(), checked.lines))?;
            match checked.gone.filter(|_| Defence::GapTold.stands()) {
                Some(gone) => {
                    let gone = rotated(&gone);
                    say(format!("{}: {gone}", path.display()))?;
                    Err(Failure::new(Kind::Incomplete, gone).shown())
                }
                None => Ok(()),
            }
        }
        Chain::Broken { file, line, why } => {
            say(format!("{}: line {line} {why}", file.display()))?;
            Err(Failure::new(Kind::Negative, format!("line {line} {why}")).shown())
        }
    }
}

/// Returns the result of a check as `--json` prints it.
fn printed(chain: &Chain) -> ChainCheck {
    match chain {
        Chain::Whole(Checked { lines, decisions, gone }) => {
            let gone = gone.as_ref().map(|gone| GoneLines {
                lines: gone.lines,
                from_ms: gone.from_ms,
                until_ms: gone.until_ms,
            });
            ChainCheck { lines: *lines, decisions: *decisions, gone, broken: None }
        }
        Chain::Broken { file, line, why } => {
            let broken = BrokenLine { file: file.display().to_string(), line: *line, why };
            ChainCheck { broken: Some(broken), ..ChainCheck::default() }
        }
    }
}

fn rotated(gone: &Gone) -> String {
    let time = |ms| humantime::format_rfc3339_millis(audit::time(ms));
    let (from, until) = (time(gone.from_ms), time(gone.until_ms));
    format!("{} lines from {from} to {until} are gone: they were rotated away", gone.lines)
}

/// Returns the folder of a bottle that has a log.
pub(super) fn with_log(context: &Context, slug: Option<Slug>) -> Outcome<Folder> {
    let folder = context.folder(slug)?;
    if folder.audit().exists() || folder.decisions().exists() {
        return Ok(folder);
    }
    Err(Failure::new(Kind::NoBottle, format!("bottle {} has no log", folder.slug()))
        .help("`bottle ls --all` lists those that have one"))
}
