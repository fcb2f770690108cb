//! bottle beside what people use today, measured in one run: on shared machines only ratios within
//! a run mean something.
//!
//! [`network`] are the ways from a namespace to a port of this host: bottle's door, stock gvproxy,
//! pasta. [`measure`] asks the same of each; [`proxies`], [`commands`] and [`many`] are about the
//! rest. [`report`] prints, writes and draws.

mod commands;
mod many;
pub(crate) mod measure;
mod network;
mod proxies;
mod report;

pub use network::{forward, ping_pong};

use crate::place::Place;
use anyhow::Result;
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
}

/// Measures everything that this machine has the peers for.
///
/// # Errors
/// Where bottle itself cannot be measured. A peer that is missing is skipped, with the reason.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    let mut report = Report::default();
    network::compare(place, options.rounds, &mut report)?;
    proxies::compare(place, options.rounds, &mut report)?;
    commands::compare(place, options.rounds.max(5), &mut report)?;
    many::compare(place, options.many, &mut report)?;
    report.skip(
        "`bottle run -- true` in a real guest",
        "it needs KVM: `bottle-harness outer` has it, under emulation",
    );
    report.finish(&place.root().join("target/compare"))?;
    Ok(ExitCode::SUCCESS)
}
