//! Runs an examination of frames, from the first one to the report.

use super::door;
use super::limits::LIMIT;
use super::sweep::Sweep;
use super::unpredictable::Unpredictable;
use crate::link::Crossing;
use crate::watch::Returned;
use anyhow::{Context, Result};
use bottle_core::examine::{Block, ranges};
use bottle_core::plan::Plan;
use bottle_host::control::{Door, Examined};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

/// How long responses may take to arrive. A stack that dials on the guest's behalf responds late.
const SETTLE: Duration = Duration::from_millis(500);
/// How many sentences of each kind are reported.
const SENTENCES: usize = 1000;

/// Examines the walls of a plan. `canaries` are addresses of this machine where something listens that no
/// guest may reach. Whoever opened them sees what arrives there.
///
/// # Errors
/// Returns an error if another examination is running.
pub fn run(crossing: &Crossing, plan: &Plan, canaries: &[SocketAddr], nonce: &str) -> Result<Examined> {
    let since = Instant::now();
    let unpredictable = Unpredictable(nonce);
    let [first, second, high, low] = unpredictable.number("ports").to_be_bytes();
    let block = Block::by(u16::from_be_bytes([high, low]));
    let first = u16::from_be_bytes([0, first ^ second]);
    let guard = plan.guard();
    let doors = plan.doors.ports().into_iter().map(|port| SocketAddrV4::new(guard.proxy(), port)).collect();
    let watching = crossing
        .watch()
        .begin(block, doors)
        .context("another `bottle verify` of this bottle is running: try again when it has ended")?;
    let mut sweep = Sweep::new(crossing, &guard, block, first, since + LIMIT);
    watching.expect_hello();
    sweep.send(&guard.hello_frame())?;
    let mut doors: Vec<Door> =
        plan.doors.iter().map(|(sidecar, port)| Door { sidecar, port, before: None, after: None }).collect();
    for door in &mut doors {
        door.before = door::ask(door, &mut sweep, &watching.heard, &unpredictable, "before")?;
    }
    let cut_short = sweep.everything(plan, canaries, nonce).err().map(|error| format!("{error:#}"));
    // The doors are tried again, however long the sweep took.
    sweep.allow_more();
    thread::sleep(SETTLE);
    for door in &mut doors {
        door.after = door::ask(door, &mut sweep, &watching.heard, &unpredictable, "after")?;
    }
    let mut answered = sweep.answered;
    answered.extend(sentences(watching.returned().into_iter()));
    Ok(Examined {
        frames: sweep.frames,
        passed: limited(sweep.passed),
        answered: limited(answered),
        silent: sweep.silent,
        cut_short,
        doors,
        ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Returns one sentence for each address and protocol, with the ports.
fn sentences(returned: impl Iterator<Item = Returned>) -> Vec<String> {
    let mut by_address: BTreeMap<_, Vec<u16>> = BTreeMap::new();
    for Returned { way, from, port } in returned {
        by_address.entry((way, from)).or_default().push(port);
    }
    by_address.into_iter().map(|((way, from), ports)| format!("{way} {from}:{}", ranges(&ports))).collect()
}

fn limited(mut sentences: Vec<String>) -> Vec<String> {
    let more = sentences.len().saturating_sub(SENTENCES);
    sentences.truncate(SENTENCES);
    sentences.extend((more > 0).then(|| format!("and {more} more")));
    sentences
}
