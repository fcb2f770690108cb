//! `bottle doctor`: shows whether this machine has what bottle needs, and which walls it provides.

use super::context::Context;
use crate::pool::shown::machines;
use anstyle::{AnsiColor, Style};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use bottle_host::tools::{Diagnosis, Level, System};
use bottle_host::{out, outln};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// How to examine this machine.
pub struct How {
    pub json: bool,
    /// Whether to do something about what is missing.
    pub fix: bool,
    /// Whether to ask nothing.
    pub yes: bool,
}

pub fn doctor(context: &Context, how: &How) -> Outcome {
    let (json, mut diagnosis) = (how.json, Diagnosis::here());
    if how.fix && fix(context, &diagnosis, how.yes)? {
        diagnosis = Diagnosis::here();
    }
    if json {
        out::json(&diagnosis)?;
    } else {
        print(&diagnosis)?;
    }
    if diagnosis.is_well() {
        return Ok(());
    }
    let missing = diagnosis.findings.iter().filter(|finding| finding.level == Level::Missing);
    let names: Vec<&str> = missing.clone().map(|finding| finding.name).collect();
    let failure = Failure::new(Kind::Unavailable, format!("this machine lacks {}", names.join(", "))).shown();
    Err(match missing.filter_map(|finding| finding.remedy).next() {
        Some(remedy) => failure.help(remedy),
        None => failure,
    })
}

/// Offers to do what is safe about everything that is missing, and prints the commands for the rest. Returns whether
/// anything was done.
fn fix(context: &Context, diagnosis: &Diagnosis, yes: bool) -> Outcome<bool> {
    let (system, root) = (System::here(), rustix::process::geteuid().is_root());
    let mut is_done = false;
    for finding in diagnosis.findings.iter().filter(|finding| finding.level != Level::Ok) {
        let Some(need) = finding.need else { continue };
        let Some(commands) = system.fix(need, root) else {
            if let Some(remedy) = finding.remedy {
                outln!("for you to do, for {}: {remedy}", finding.name)?;
            }
            continue;
        };
        let lines: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
        let question =
            format!("{} is missing: {}. Run `{}`?", finding.name, finding.detail, lines.join(" && "));
        if !(yes || out::confirmed(&question)) {
            continue;
        }
        for (words, line) in commands.iter().zip(&lines) {
            context.say(&format!("running {line}"));
            if let Err(why) = carry_out(words) {
                out::note(format_args!("`{line}` {why}"));
                break;
            }
        }
        is_done = true;
    }
    Ok(is_done)
}

/// Runs a command, whose output goes to standard error, and returns why it failed, if it did.
fn carry_out(words: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let output = std::io::stderr().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(output);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ended with {status}")),
        Err(error) => Err(format!("cannot be run: {error}")),
    }
}

fn print(diagnosis: &Diagnosis) -> Outcome {
    let plain = Style::new();
    for finding in &diagnosis.findings {
        let (word, style) = match finding.level {
            Level::Ok => ("ok", AnsiColor::Green.on_default()),
            Level::Warning => ("warning", AnsiColor::Yellow.on_default()),
            Level::Missing => ("MISSING", AnsiColor::Red.on_default()),
        };
        let version = finding.version.as_deref().unwrap_or_default();
        out::styled(&[
            (style, format!("{word:<8}")),
            (plain, format!(" {:<11} {version:<9} {}", finding.name, finding.detail)),
        ])?;
        let more = |what: String| outln!("{:<8} {:<11} {:<9} {what}", "", "", "");
        if let Some(place) = &finding.path {
            more(place.display().to_string())?;
        }
        if let Some(remedy) = finding.remedy {
            more(format!("to fix it: {remedy}"))?;
        }
    }
    let walls = match (diagnosis.walls.guard, diagnosis.walls.jail) {
        (_, true) => "two: the guard, which decides on every frame, and the jail around the network stack",
        (_, false) => "one: the guard, which decides on every frame; the jail needs Linux and bubblewrap",
    };
    out::styled(&[(plain.bold(), "walls".to_owned()), (plain, format!("    {walls}"))])?;
    // What waits takes memory of this machine.
    let waits = Home::find().and_then(|home| machines(&home)).map_or(0, |machines| machines.len());
    if waits > 0 {
        outln!("pool     machines that are kept ready, or are in use: {waits}; `bottle pool` lists them")?;
    }
    Ok(())
}
