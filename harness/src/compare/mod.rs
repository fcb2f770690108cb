//! bottle beside the alternatives, measured in one run: on shared machines, only ratios within a run mean
//! anything.
//!
//! [`routes`] lead from a namespace to a port of this host: through bottle's doors, stock gvproxy, pasta and
//! passt, and through two relays that only [`splice`], which nothing can beat. [`network`] compares them, with [`measure`]
//! and, inside the namespaces, [`client`]. [`guard`] measures the guard's cost, [`real`] a real guest, [`proxies`] the
//! egress proxy, [`commands`] the command itself, [`files`] copies of projects, and [`many`] many bottles at once.
//! [`report`] prints, writes and draws the results.

mod client;
mod commands;
pub(crate) mod files;
mod guard;
mod many;
pub(crate) mod measure;
mod network;
mod proxies;
mod real;
mod report;
mod routes;
mod splice;

pub use client::{connect_many, flow_through, forward, ping_pong, tunnel};
pub use real::{Real, real};
pub use splice::{Place, splice_all};

use crate::checkout::Checkout;
use anyhow::Result;
use clap::ValueEnum;
use report::Report;
use std::process::ExitCode;

/// What to measure, and how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many alternating runs of each measurement to make
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many bottles to run at once at most
    #[arg(long, default_value_t = 50)]
    many: usize,
    /// Measure only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Network,
    Guard,
    Proxies,
    Commands,
    Files,
    Many,
    Real,
}

/// Measures bottle and the alternatives that are installed here.
///
/// # Errors
/// Returns an error if bottle itself cannot be measured. A missing alternative is skipped, with the reason.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let mut report = Report::default();
    for part in Part::value_variants().iter().filter(|part| options.only.is_none_or(|only| only == **part)) {
        match part {
            Part::Network => network::compare(checkout, options.rounds, &mut report)?,
            Part::Guard => guard::compare(checkout, options.rounds, &mut report)?,
            Part::Proxies => proxies::compare(checkout, options.rounds, &mut report)?,
            Part::Commands => commands::compare(checkout, options.rounds.max(5), &mut report)?,
            Part::Files => files::compare(checkout, options.rounds, &mut report)?,
            Part::Many => many::compare(checkout, options.many, &mut report)?,
            Part::Real => real::compare(checkout, options.rounds, &mut report)?,
        }
    }
    report.finish(&checkout.root().join("target/compare"))?;
    Ok(ExitCode::SUCCESS)
}
