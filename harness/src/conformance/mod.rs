//! The conformance check: does a guest reach anything but its doors?
//!
//! [`canaries`] puts canaries on everything that a guest might reach. [`subject`] lists the networks to
//! judge: bottle as a user runs it ([`shipped`]), its walls one at a time ([`assembled`]), and others that
//! must be found leaking ([`stock`]). [`verdict`] judges; [`report`] and [`html`] show the result. A guest
//! tries what `bottle_verify` lists for `bottle verify`, and also [`questions`].
//!
//! Each subject is judged by its own process ([`judge`]), in its own namespaces and, if there is no KVM, in
//! its own outer machine. If one freezes or dies, nothing else is affected, and it is tried again.

mod assembled;
mod canaries;
mod html;
mod judge;
mod probed;
mod questions;
mod report;
mod shipped;
mod stock;
mod subject;
mod verdict;

pub use canaries::serve_witness;
pub use judge::{Judge, judge};
pub use subject::Subject;

use crate::checkout::Checkout;
use crate::environment::Guest;
use crate::outer;
use crate::ways_back::{self, AttackResult};
use anyhow::Result;
use bottle_verify::judge::Verdict;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use verdict::Judged;

/// Which subjects to judge, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The kind of guest [default: both]
    #[arg(long, value_enum)]
    guest: Option<Guest>,
    /// Judge only these subjects
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Leave out the long attacks
    #[arg(long)]
    quick: bool,
    /// Take away both walls of the subject `bottle`, to see that this is found
    #[arg(long)]
    sabotage: bool,
}

/// Judges every subject and writes the reports.
///
/// # Errors
/// Returns an error if a subject cannot be judged. An unexpected result is an exit status, not an error.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let guests = Guest::or_both(options.guest);
    if guests.contains(&Guest::Real) && !outer::has_kvm() {
        eprintln!("no usable KVM here: real guests run in the outer machine, under QEMU's emulation");
    }
    let (mut judged, mut attacks) = (Vec::new(), Vec::new());
    for guest in guests {
        println!("guest: {}", guest.name());
        println!("{}", report::HEADER);
        let wanted = |subject: &Subject| options.only.is_empty() || options.only.contains(subject);
        let subjects: Vec<Subject> = Subject::all(guest).into_iter().filter(wanted).collect();
        judged.extend(judge_all(checkout, guest, &subjects, options.sabotage)?);
        // The attacks are part of a full run. `ways-back` makes only them.
        if options.only.is_empty() {
            attacks
                .extend(ways_back::attack(checkout, guest, options.quick, &[], &|line| println!("{line}")));
        }
    }
    if !options.sabotage {
        let folder = checkout.root().join("target/conformance");
        report::write(&folder, &judged, &attacks)?;
        println!("reports: {0}/report.json and {0}/report.html", folder.display());
    }
    let wrong: Vec<&Judged> = judged.iter().filter(|judged| !judged.as_it_must).collect();
    let wrong_attacks: Vec<&AttackResult> =
        attacks.iter().filter(|attack| !attack.is_as_expected()).collect();
    let names = wrong.iter().map(|judged| judged.subject.name());
    let names: Vec<String> = names.chain(wrong_attacks.iter().map(|attack| attack.name.clone())).collect();
    if names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("unexpected: {}", names.join(", "));
    let inconclusive = wrong.iter().all(|judged| judged.verdict == Verdict::Inconclusive)
        && wrong_attacks.iter().all(|attack| attack.is_inconclusive());
    Ok(if inconclusive { ExitCode::from(outer::INCONCLUSIVE) } else { ExitCode::FAILURE })
}

/// Judges subjects and prints their rows in order. Stand-ins mostly wait, so two are judged at a time. Two
/// emulated machines would starve each other.
fn judge_all(checkout: &Checkout, guest: Guest, subjects: &[Subject], sabotage: bool) -> Result<Vec<Judged>> {
    let workers = if guest == Guest::Namespace { 2 } else { 1 };
    let next = AtomicUsize::new(0);
    let (done, judgments) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                while let Some(&subject) = subjects.get(next.fetch_add(1, Relaxed)) {
                    let job = Judge { subject, guest, sabotage, out: None };
                    if done.send((subject, job.until_conclusive(checkout, &progress))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut judged = Vec::new();
        for (subject, judgment) in judgments {
            early.insert(subject, judgment?);
            while let Some(judgment) = subjects.get(judged.len()).and_then(|subject| early.remove(subject)) {
                progress("");
                println!("{}", report::row(&judgment));
                judged.push(judgment);
            }
        }
        Ok(judged)
    })
}

/// Shows what is being done, on a line that is overwritten. It only appears on a terminal.
fn progress(what: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{what}");
        let _ = out.flush();
    }
}
