//! `bottle-harness`: see the library for what it does.

use anyhow::Result;
use bottle_harness::place::Place;
use bottle_harness::{conformance, demo, life, outer};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Shows and proves what bottle does.
#[derive(Parser)]
#[command(name = "bottle-harness", version)]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Run a command in the outer machine, where KVM works
    Outer {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show the main job in a real guest
    Demo,
    /// Live through a bottle's life in a real guest: up, a keeper that dies, a restart, gone
    Life,
    /// Judge bottle and the networks that must be found leaking, with a stand-in guest
    Conformance {
        /// Take both of bottle's walls away, to see that this is found
        #[arg(long)]
        sabotage: bool,
    },
}

fn main() -> ExitCode {
    let done = || -> Result<ExitCode> {
        let place = Place::find()?;
        match Args::parse().job {
            Job::Outer { command } => outer::run(&place, &command),
            Job::Demo => demo::main(&place),
            Job::Life => life::main(&place),
            Job::Conformance { sabotage } => conformance::main(&place, sabotage),
        }
    };
    done().unwrap_or_else(|error| {
        eprintln!("bottle-harness: {error:#}");
        ExitCode::from(125)
    })
}
