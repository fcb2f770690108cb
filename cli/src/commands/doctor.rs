//! `bottle doctor`: does this machine have what it takes, and which walls does it give?

use crate::failure::{Kind, Outcome};
use crate::preflight::{Diagnosis, Level};
use anstyle::{AnsiColor, Style};
use std::io::Write;
use std::process::ExitCode;

pub fn doctor(json: bool) -> Outcome<ExitCode> {
    let diagnosis = Diagnosis::here();
    if json {
        println!("{}", serde_json::to_string_pretty(&diagnosis).map_err(anyhow::Error::from)?);
    } else {
        // Who reads no further has seen enough.
        let _ = print(&diagnosis);
    }
    Ok(if diagnosis.is_well() { ExitCode::SUCCESS } else { ExitCode::from(Kind::Unavailable as u8) })
}

fn print(diagnosis: &Diagnosis) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    for finding in &diagnosis.findings {
        let (word, style) = match finding.level {
            Level::Ok => ("ok", AnsiColor::Green.on_default()),
            Level::Warning => ("warning", AnsiColor::Yellow.on_default()),
            Level::Missing => ("MISSING", AnsiColor::Red.on_default()),
        };
        let version = finding.version.as_deref().unwrap_or_default();
        writeln!(out, "{style}{word:<8}{style:#} {:<11} {version:<9} {}", finding.name, finding.detail)?;
        let more = |out: &mut anstream::AutoStream<_>, name: &str, what: &str| {
            writeln!(out, "{:<8} {:<11} {:<9} {name}{what}", "", "", "")
        };
        if let Some(place) = &finding.place {
            more(&mut out, "", &place.display().to_string())?;
        }
        if let Some(mend) = finding.mend {
            more(&mut out, "to mend it: ", mend)?;
        }
    }
    let bold = Style::new().bold();
    let walls = match (diagnosis.walls.guard, diagnosis.walls.jail) {
        (_, true) => "two: the guard, which decides on every frame, and the jail around the network stack",
        (_, false) => "one: the guard, which decides on every frame; the jail needs Linux and bubblewrap",
    };
    writeln!(out, "{bold}walls{bold:#}    {walls}")
}
