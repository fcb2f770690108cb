//! What came of trying a package.

use bottle_core::visible::Line;
use serde::Serialize;
use std::process::Output;

/// The time in which a package has to be installed and tried.
pub(super) const LIMIT: &str = "300s";

/// What came of it.
#[derive(Serialize)]
pub(super) struct Score {
    pub ecosystem: String,
    pub package: String,
    pub version: String,
    pub works: bool,
    pub seconds: u64,
    /// The last lines of what it said, if it does not work.
    pub why: Option<String>,
}

impl Score {
    /// Prints it.
    pub fn show(&self) {
        let Self { ecosystem, package, version, works, seconds, why } = self;
        let works = if *works { "works " } else { "FAILED" };
        println!("{ecosystem:<10} {package:<20} {version:<12} {works} {seconds:>4} s");
        if let Some(why) = why {
            println!("    {}", why.replace('\n', "\n    "));
        }
    }
}

/// Returns the last lines of what a program said, if it failed.
pub(super) fn last_lines(output: &Output) -> Option<String> {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<String> =
        said.lines().filter(|line| !line.trim().is_empty()).map(|line| Line(line).to_string()).collect();
    (!output.status.success()).then(|| lines[lines.len().saturating_sub(8)..].join("\n"))
}
