//! How long the command itself takes, beside smolvm's counterpart: with the stand-in, whose machine
//! costs next to nothing, what is left is bottle's own time.

use super::report::{Better, Figures, Report};
use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Result, ensure};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a command may take of its own, in milliseconds.
const GOAL: f64 = 20.0;

pub fn compare(place: &Place, rounds: usize, report: &mut Report) -> Result<()> {
    let room = Room::new(place)?;
    std::fs::write(
        room.project().join("bottle.toml"),
        "slug = \"commands\"\n[workspace]\nmode = \"none\"\n",
    )?;
    let time = |program: std::path::PathBuf, words: &[&str]| -> Result<f64> {
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(room.project())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.envs(room.env().iter().map(|(name, value)| (name, value)));
        let since = Instant::now();
        let status = command.status()?;
        ensure!(status.success(), "{words:?} ended with {status}");
        Ok(since.elapsed().as_secs_f64() * 1e3)
    };
    let bottle = || place.program("bottle");
    let smolvm = || place.program("smolvm-stand-in");
    time(bottle()?, &["-q", "up"])?;
    let none: &[&str] = &[];
    for (what, own, counterpart) in [
        (
            "bottle exec, own time",
            &["exec", "--", "true"][..],
            &["machine", "exec", "--name", "bottle-commands", "--", "true"][..],
        ),
        ("bottle ls, own time", &["ls"], &["machine", "ls", "--json"]),
        ("bottle plan", &["plan"], none),
        ("bottle --help", &["--help"], none),
    ] {
        let mut values = Vec::new();
        for _ in 0..rounds * 2 {
            let whole = time(bottle()?, own)?;
            let theirs = if counterpart.is_empty() { 0.0 } else { time(smolvm()?, counterpart)? };
            values.push(whole - theirs);
        }
        let figures = [
            Figures { system: "bottle", values, goal: None },
            Figures { system: "the goal", values: vec![GOAL], goal: Some(1.0) },
        ];
        report.add(what, "ms", Better::Lower, &figures);
    }
    time(bottle()?, &["-q", "rm", "--force"])?;
    Ok(())
}
