//! `bottle logs` and `bottle audit`: what a bottle's parts decided.

use super::context::Context;
use crate::failure::{Failure, Kind, Outcome};
use crate::keeper::audit::{self, Chain, Entry, Line, Tail};
use crate::state::Folder;
use anstyle::{AnsiColor, Style};
use bottle_core::slug::Slug;
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often a log that is followed is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// Which lines are shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub denied: bool,
    pub follow: bool,
    pub since: Option<SystemTime>,
}

pub fn logs(context: &Context, slug: Option<Slug>, shown: Shown) -> Outcome {
    let folder = with_log(context, slug)?;
    let mut tail = Tail::new(&folder.audit())?;
    let mut out = anstream::stdout();
    loop {
        while let Some(line) = tail.next_line()? {
            if !shown.includes(&line) {
                continue;
            }
            let line = match line {
                Ok(entry) => for_people(&entry),
                Err(line) => format!("(not a line of the log) {}", line.escape_debug()),
            };
            // A reader that goes away, `head` say, has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(());
            }
        }
        if !shown.follow || out.flush().is_err() {
            return Ok(());
        }
        thread::sleep(GLANCE);
    }
}

impl Shown {
    fn includes(self, line: &Line) -> bool {
        let Ok(entry) = line else { return true };
        (!self.denied || entry.event == "refused") && self.since.is_none_or(|since| entry.time() >= since)
    }
}

/// A point in time: `10m` ago, or `2026-11-24T09:30:00Z`.
///
/// # Errors
/// In words, where it is neither.
pub fn point_in_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "that is before all time".to_owned());
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "neither a while, like 10m or 2h, nor a time, like 2026-11-24T09:30:00Z".to_owned())
}

fn for_people(entry: &Entry) -> String {
    let details = entry.details.iter().map(|(key, value)| match value {
        // What the guest wrote must not steer the terminal that shows it.
        Value::String(text) => format!(" {key}={}", text.escape_debug()),
        other => format!(" {key}={other}"),
    });
    let details: String = details.collect();
    let (time, style) = (humantime::format_rfc3339_millis(entry.time()), style(&entry.event));
    let (part, event) = (entry.part.escape_debug().to_string(), entry.event.escape_debug().to_string());
    format!("{time} {part:<9} {style}{event:<10}{style:#}{details}")
}

fn style(event: &str) -> Style {
    match event {
        "refused" | "denied" => AnsiColor::Red.on_default(),
        "allowed" | "approved" => AnsiColor::Green.on_default(),
        "failed" | "lost" | "torn" | "sidecar-ended" | "gvproxy-ended" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

pub fn audit(context: &Context, slug: Option<Slug>, check: bool) -> Outcome<ExitCode> {
    let folder = with_log(context, slug)?;
    let path = folder.audit();
    if !check {
        let (mut tail, mut out) = (Tail::new(&path)?, std::io::stdout().lock());
        while let Some(line) = tail.next_line()? {
            let text = match line {
                Ok(entry) => serde_json::to_string(&entry).map_err(anyhow::Error::from)?,
                Err(line) => line,
            };
            if writeln!(out, "{text}").is_err() {
                break;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    match audit::check(&path)? {
        Chain::Whole(lines) => {
            println!("{}: {lines} lines, each follows from the one before it", path.display());
            Ok(ExitCode::SUCCESS)
        }
        Chain::Broken { file, line } => {
            println!("{}: line {line} does not follow from the one before it", file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn with_log(context: &Context, slug: Option<Slug>) -> Outcome<Folder> {
    let folder = context.folder(slug)?;
    if folder.audit().exists() {
        return Ok(folder);
    }
    Err(Failure::new(Kind::NoBottle, format!("bottle {} has no log", folder.slug())))
}
