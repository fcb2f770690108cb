//! `bottle doctor`: shows whether this machine has what bottle needs, and which walls it provides.

use anstyle::{AnsiColor, Style};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::tools::{Diagnosis, Level};
use bottle_host::{out, outln};

pub fn doctor(json: bool) -> Outcome {
    let diagnosis = Diagnosis::here();
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
    out::styled(&[(plain.bold(), "walls".to_owned()), (plain, format!("    {walls}"))])
}
