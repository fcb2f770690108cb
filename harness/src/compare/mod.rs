//! bottle beside what people use today, measured in one run: on shared machines only ratios within
//! a run mean something.
//!
//! [`ways`] lead from a namespace to a port of this host: bottle's door, stock gvproxy, pasta, passt;
//! [`network`] holds them against each other, with [`measure`] and, in the namespaces, [`client`].
//! [`guard`] is what the guard costs, [`real`] what a real guest gives; [`proxies`], [`commands`] and
//! [`many`] are about the rest. [`report`] prints, writes and draws.

mod client;
mod commands;
mod guard;
mod many;
pub(crate) mod measure;
mod network;
mod proxies;
mod real;
mod report;
mod ways;

pub use client::{forward, ping_pong};
pub use real::{Real, real};

use crate::place::Place;
use anyhow::Result;
use clap::ValueEnum;
use report::Report;
use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Alternating runs of each measurement
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bottles at once, at the most
    #[arg(long, default_value_t = 50)]
    many: usize,
    /// This part alone
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Network,
    Guard,
    Proxies,
    Commands,
    Many,
    Real,
}

/// Measures everything that this machine has the peers for.
///
/// # Errors
/// Where bottle itself cannot be measured. A peer that is missing is skipped, with the reason.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    let mut report = Report::default();
    for part in Part::value_variants().iter().filter(|part| options.only.is_none_or(|only| only == **part)) {
        match part {
            Part::Network => network::compare(place, options.rounds, &mut report)?,
            Part::Guard => guard::compare(place, options.rounds, &mut report)?,
            Part::Proxies => proxies::compare(place, options.rounds, &mut report)?,
            Part::Commands => commands::compare(place, options.rounds.max(5), &mut report)?,
            Part::Many => many::compare(place, options.many, &mut report)?,
            Part::Real => real::compare(place, options.rounds, &mut report)?,
        }
    }
    report.finish(&place.root().join("target/compare"))?;
    Ok(ExitCode::SUCCESS)
}
