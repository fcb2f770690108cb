//! Carries out a setup whose results are kept on a machine's disk: once for each machine and each list of commands.
//!
//! The commands run in the guest, behind the same doors as everything else. The hosts that only they may reach are
//! lent by the keeper for as long as this process holds on to them.

use crate::operator::who;
use bottle_core::egress::HostRule;
use bottle_core::execution::SHELL;
use bottle_core::plan::Plan;
use bottle_core::visible::Line;
use bottle_host::control;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::{Smolvm, Terminal};
use bottle_host::state::{Folder, Lock, remove_file, write_private};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line of a command's output that is shown, in bytes. A longer one is shown in pieces.
const LONGEST: u64 = 4096;
/// How many of the last lines say why a command failed.
const LAST: usize = 12;
/// How many lines wait to be shown.
const LINES: usize = 64;
/// How often a command that says nothing is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long the last lines of a command that has ended may take to arrive.
const REST: Duration = Duration::from_secs(1);
/// How long a command waits for another one that carries out the same setup.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Returns whether the machine's disk lacks what the plan wants on it.
pub fn is_due(folder: &Folder, plan: &Plan) -> bool {
    !plan.setup.is_empty()
        && !plan.setup.is_for_image()
        && fs::read_to_string(folder.set_up()).ok() != Some(record(plan))
}

/// Runs the commands in a bottle that is up, which may reach the hosts in `more` meanwhile, too. `show` gets each line of
/// their output. If another process carries them out, this one waits for it.
///
/// # Errors
/// Returns an error if one of them fails. Those before it have done what they did, and the next call starts over.
pub fn run(smolvm: &Smolvm, folder: &Folder, plan: &Plan, more: &[HostRule], show: &dyn Fn(&str)) -> Outcome {
    let _turn = match Lock::alone(&folder.set_up_lock(), Duration::ZERO)? {
        Some(turn) => turn,
        None => {
            show("setup: waiting for another command that carries it out");
            let turn = Lock::alone(&folder.set_up_lock(), PATIENCE)?;
            turn.ok_or_else(|| {
                Failure::new(Kind::Busy, format!("the setup of {} does not end", folder.slug()))
            })?
        }
    };
    if !is_due(folder, plan) {
        return Ok(());
    }
    remove_file(&folder.set_up())?;
    let hosts: Vec<HostRule> = plan.setup.allow.iter().chain(more).cloned().collect();
    let lent = if hosts.is_empty() { None } else { Some(control::lend(folder, hosts, who())?) };
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
    let lines = lines_of(output);
    let mut last = VecDeque::new();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(GLANCE) {
            Ok(line) if line.is_empty() || line.starts_with("note: ") => {}
            Ok(line) => {
                show(&line);
                last.push_back(line);
                if last.len() > LAST {
                    last.pop_front();
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // What it left in the background may have the pipe for as long as it likes.
            Err(RecvTimeoutError::Timeout) if ended.is_some_and(|(_, since)| since.elapsed() > REST) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = child.try_wait().map_err(text)?.map(|status| (status, Instant::now()));
        }
    }
    let status = ended.map_or_else(|| child.wait(), |(status, _)| Ok(status)).map_err(text)?;
    if status.success() {
        return Ok(());
    }
    let lines: Vec<String> = last.iter().map(|line| format!("\n  {line}")).collect();
    Err(format!("ended with {status}{}", lines.concat()))
}

/// Reads the lines of a command's output in a thread of its own, which ends with the output. A guest wrote them, so they
/// are made visible.
fn lines_of(output: PipeReader) -> Receiver<String> {
    let (to, from) = mpsc::sync_channel(LINES);
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let shown = Line(String::from_utf8_lossy(&line).trim_end()).to_string();
            line.clear();
            if to.send(shown).is_err() {
                return;
            }
        }
    });
    from
}
