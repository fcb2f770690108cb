//! `bottle-harness`: see the library for what it does.

use anyhow::Result;
use bottle_harness::place::Place;
use bottle_harness::{demo, outer};
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
}

fn main() -> ExitCode {
    let done = || -> Result<ExitCode> {
        let place = Place::find()?;
        match Args::parse().job {
            Job::Outer { command } => outer::run(&place, &command),
            Job::Demo => demo::main(&place),
        }
    };
    done().unwrap_or_else(|error| {
        eprintln!("bottle-harness: {error:#}");
        ExitCode::from(125)
    })
}
