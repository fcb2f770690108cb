//! The conformance check: does a guest reach anything but its doors?
//!
//! [`world`] puts canaries on everything that a guest might reach. [`subject`] lists the networks
//! that are judged: bottle as a user runs it ([`kept`]), its walls one at a time ([`built`]), and
//! others that must be found leaking ([`stock`]). [`crate::ground`] is where their guests run.
//! [`verdict`] judges, [`report`] and [`html`] show. What a guest tries is in `bottle_verify`,
//! which `bottle verify` shares, and [`questions`].
//!
//! Each subject is judged by a process of its own ([`judge`]), in a network namespace of its own
//! and, where there is no KVM, in an outer machine of its own: what freezes or dies takes nothing
//! with it, and is tried again.

mod built;
mod html;
mod judge;
mod kept;
mod questions;
mod report;
mod stock;
mod subject;
mod verdict;
mod world;

pub use judge::{Judge, judge};
pub use subject::Subject;
pub use world::serve_witness;

use crate::ground::Guest;
use crate::outer;
use crate::place::Place;
use crate::ways_back::{self, Tried};
use anyhow::Result;
use bottle_verify::judge::Verdict;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use verdict::Judged;

/// Which subjects are judged, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The guests: real ones, or the stand-in [default: both]
    #[arg(long, value_enum)]
    guest: Option<Guest>,
    /// Only these subjects
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Leave out the ways back that take long
    #[arg(long)]
    quick: bool,
    /// Take both walls of the subject `bottle` away, to see that this is found
    #[arg(long)]
    sabotage: bool,
}

/// Judges every subject, and writes the reports.
///
/// # Errors
/// Where no subject can be judged. What does not come out as it must is an exit status.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    let guests = options.guest.map_or(vec![Guest::Namespace, Guest::Real], |guest| vec![guest]);
    if guests.contains(&Guest::Real) && !outer::has_kvm() {
        eprintln!("no usable KVM here: real guests run in the outer machine, under QEMU's emulation");
    }
    let (mut judged, mut tried) = (Vec::new(), Vec::new());
    for guest in guests {
        println!("guest: {}", guest.name());
        println!("{}", report::HEADER);
        let wanted = |subject: &Subject| options.only.is_empty() || options.only.contains(subject);
        let subjects: Vec<Subject> = Subject::all(guest).into_iter().filter(wanted).collect();
        judged.extend(judge_all(place, guest, &subjects, options.sabotage)?);
        // The ways back are judged with the whole, and alone by `ways-back`.
        if options.only.is_empty() {
            tried.extend(ways_back::attack(place, guest, options.quick, &[], &|line| println!("{line}")));
        }
    }
    if !options.sabotage {
        let folder = place.root().join("target/conformance");
        report::write(&folder, &judged, &tried)?;
        println!("reports: {0}/report.json and {0}/report.html", folder.display());
    }
    let wrong: Vec<&Judged> = judged.iter().filter(|judged| !judged.as_it_must).collect();
    let wrong_ways: Vec<&Tried> = tried.iter().filter(|tried| !tried.as_it_must()).collect();
    let names = wrong.iter().map(|judged| judged.subject.name());
    let names: Vec<String> = names.chain(wrong_ways.iter().map(|tried| tried.name.clone())).collect();
    if names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("not as it must be: {}", names.join(", "));
    let open = wrong.iter().all(|judged| judged.verdict == Verdict::Inconclusive)
        && wrong_ways.iter().all(|tried| tried.held.is_unclear() || tried.witness.is_unclear());
    Ok(if open { ExitCode::from(outer::INCONCLUSIVE) } else { ExitCode::FAILURE })
}

/// Judges subjects, and prints each one's row in their order. Stand-ins mostly wait, so two are
/// judged at a time; two emulated machines would starve each other.
fn judge_all(place: &Place, guest: Guest, subjects: &[Subject], sabotage: bool) -> Result<Vec<Judged>> {
    let workers = if guest == Guest::Namespace { 2 } else { 1 };
    let next = AtomicUsize::new(0);
    let (done, came) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                while let Some(&subject) = subjects.get(next.fetch_add(1, Relaxed)) {
                    let job = Judge { subject, guest, sabotage, out: None };
                    if done.send((subject, job.until_conclusive(place, &progress))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut judged = Vec::new();
        for (subject, judgment) in came {
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

/// What is being done, on a line that is overwritten. Only a terminal sees it.
fn progress(what: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{what}");
        let _ = out.flush();
    }
}
