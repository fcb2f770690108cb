//! Carries out a setup whose results are kept on a machine's disk: once for each machine and each list of commands.
//!
//! The commands run in the guest, behind the same doors as everything else. The hosts that only they may reach are
//! lent by the keeper for as long as this process holds on to them.

use crate::operator::who;
use bottle_core::execution::SHELL;
use bottle_core::plan::Plan;
use bottle_core::visible::Line;
use bottle_host::control;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::{Smolvm, Terminal};
use bottle_host::state::{Folder, remove_file, write_private};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::Stdio;

/// The longest line of a command's output that is shown, in bytes. A longer one is shown in pieces.
const LONGEST: u64 = 4096;
/// How many of the last lines say why a command failed.
const LAST: usize = 12;

/// Returns whether the machine's disk lacks what the plan wants on it.
pub fn is_due(folder: &Folder, plan: &Plan) -> bool {
    !plan.setup.is_empty()
        && !plan.setup.is_for_image()
        && fs::read_to_string(folder.set_up()).ok() != Some(record(plan))
}

/// Runs the commands in a bottle that is up. `show` gets each line of their output.
///
/// # Errors
/// Returns an error if one of them fails. Those before it have done what they did, and the next call starts over.
pub fn run(smolvm: &Smolvm, folder: &Folder, plan: &Plan, show: &dyn Fn(&str)) -> Outcome {
    remove_file(&folder.set_up())?;
    let lent = if plan.setup.allow.is_empty() {
        None
    } else {
        Some(control::lend(folder, plan.setup.allow.clone(), who())?)
    };
    for command in &plan.setup.run {
        let what = Line(command.as_str()).to_string();
        show(&format!("setup: {what}"));
        let words = [SHELL.to_owned(), "-c".to_owned(), command.to_string()];
        carry_out(smolvm, folder, &words, show).map_err(|why| {
            let slug = folder.slug();
            Failure::new(Kind::Guest, format!("the setup of {slug} failed: `{what}` {why}")).help(format!(
                "a host that it needs belongs into `setup-allow` ({slug}'s refusals: `bottle logs --denied {slug}`); \
                 the bottle is up, and `bottle up {slug}` tries again"
            ))
        })?;
    }
    drop(lent);
    Ok(write_private(&folder.set_up(), record(plan).as_bytes())?)
}

fn record(plan: &Plan) -> String {
    serde_json::json!({ "image": plan.guest.image, "run": plan.setup.run }).to_string()
}

/// Runs one command, and returns why it failed, if it did.
fn carry_out(smolvm: &Smolvm, folder: &Folder, words: &[String], show: &dyn Fn(&str)) -> Result<(), String> {
    let text = |error: io::Error| format!("cannot be run: {error}");
    let (output, input) = io::pipe().map_err(text)?;
    let mut call = smolvm.exec(folder.slug(), Terminal::Pipe, words);
    call.stdin(Stdio::null()).stdout(input.try_clone().map_err(text)?).stderr(input);
    die_with_parent(&mut call, Signal::TERM);
    let mut child = call.spawn().map_err(text)?;
    // This process's own ends of the pipe would keep it open.
    drop(call);
    let mut last = VecDeque::new();
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(text)? > 0 {
        // A guest wrote it.
        let shown = Line(String::from_utf8_lossy(&line).trim_end()).to_string();
        line.clear();
        if shown.is_empty() || shown.starts_with("note: ") {
            continue;
        }
        show(&shown);
        last.push_back(shown);
        if last.len() > LAST {
            last.pop_front();
        }
    }
    let status = child.wait().map_err(text)?;
    if status.success() {
        return Ok(());
    }
    let lines: Vec<String> = last.iter().map(|line| format!("\n  {line}")).collect();
    Err(format!("ended with {status}{}", lines.concat()))
}
