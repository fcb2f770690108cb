//! The reports: a row in the terminal, a file for programs, a page for people.
//!
//! `docs/conformance.md` explains each field of `report.json`.

use super::html;
use super::verdict::Judged;
use crate::ways_back::AttackResult;
use anyhow::Result;
use bottle_verify::judge::Verdict;
use serde_json::json;
use std::fs;
use std::path::Path;

/// The version of the layout of `report.json`. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 2;

/// The header above the rows in the terminal.
pub const HEADER: &str = "subject         verdict        attempts       s  note";

/// Returns a subject's row in the terminal.
pub fn row(judged: &Judged) -> String {
    let mut notes = Vec::new();
    notes.extend(judged.leaks.first().map(|leak| format!("{leak}{}", more(judged.leaks.len()))));
    notes.extend(judged.inconclusive_because.clone().filter(|_| judged.verdict == Verdict::Inconclusive));
    notes.extend(
        judged.services.first().map(|first| format!("services: {first}{}", more(judged.services.len()))),
    );
    if judged.hangs > 0 {
        notes.push(format!("{} silent", judged.hangs));
    }
    if judged.tries > 1 {
        notes.push(format!("attempt {}", judged.tries));
    }
    format!(
        "{:<15} {:<14} {:>8} {:>7.1}  {}",
        judged.subject.name(),
        judged.verdict.word(),
        judged.attempts,
        judged.seconds,
        notes.join("; ")
    )
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

/// Writes `report.json` and `report.html`.
pub fn write(folder: &Path, judged: &[Judged], attacks: &[AttackResult]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let report = json!({ "schema": SCHEMA, "subjects": judged, "ways_back": attacks });
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    fs::write(folder.join("report.html"), html::page(judged, attacks)?)?;
    Ok(())
}
