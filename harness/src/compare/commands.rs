//! How long the command itself takes, beside smolvm's counterpart. The stand-in's machine costs next to
//! nothing, so the rest is bottle's own time.

use super::measure::time;
use super::report::{Better, Figures, Report};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use anyhow::Result;

/// How long a command itself may take, in milliseconds.
const GOAL: f64 = 6.0;

pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    let environment = Environment::new(checkout, Guest::Namespace)?;
    let bottle = environment.small_project("commands", "")?.up()?;
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
            let whole = time(bottle.command(own))?;
            let mut smolvm = environment.smolvm()?;
            smolvm.args(counterpart);
            let theirs = if counterpart.is_empty() { 0.0 } else { time(smolvm)? };
            values.push(whole - theirs);
        }
        let figures = [
            Figures { system: "bottle", values, goal: None },
            Figures { system: "the goal", values: vec![GOAL], goal: Some(1.0) },
        ];
        report.add(what, "ms", Better::Lower, &figures);
    }
    Ok(())
}
