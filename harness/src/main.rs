//! `bottle-harness`: see the library for what it does.

use anyhow::Result;
use bottle_harness::place::Place;
use bottle_harness::{compare, conformance, demo, life, outer, soak, ways_back};
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
    /// Judge bottle, each of its walls alone, and the networks that must be found leaking
    Conformance(conformance::Options),
    /// Attack the host with what comes back from a guest, with each defence and without it
    WaysBack(ways_back::Options),
    /// Give a guest's copy to a user, as the keeper does: a step of an attack
    #[command(hide = true)]
    Give {
        /// The copy
        place: std::path::PathBuf,
        /// The user
        uid: u32,
    },
    /// Measure bottle beside what people use today, all in one run
    Compare(compare::Options),
    /// Keep bottles busy for long, and look for leaks and stalls
    Soak(soak::Options),
    /// Measure real guests, where they boot
    #[command(hide = true)]
    CompareReal(compare::Real),
    /// A guest's end of stock gvproxy, for `compare`
    #[command(hide = true)]
    Forward {
        /// gvproxy's socket, which speaks QEMU's framing
        #[arg(long)]
        socket: std::path::PathBuf,
        /// The link's MTU
        #[arg(long)]
        mtu: u16,
    },
    /// Connect, send and receive one byte, so many times, and print the microseconds that each took
    #[command(hide = true)]
    PingPong {
        /// Where
        address: std::net::SocketAddr,
        /// How often
        #[arg(long)]
        count: usize,
    },
    /// Judge one subject, in a namespace made for it
    #[command(hide = true)]
    Judge(conformance::Judge),
    /// Serve the witness's page: a sidecar to be killed
    #[command(hide = true)]
    Witness {
        /// Where
        #[arg(long)]
        port: u16,
        /// The run's number
        #[arg(long)]
        nonce: String,
    },
}

fn main() -> ExitCode {
    let done = || -> Result<ExitCode> {
        let place = Place::find()?;
        match Args::parse().job {
            Job::Outer { command } => outer::run(&place, &command),
            Job::Demo => demo::main(&place),
            Job::Life => life::main(&place),
            Job::Conformance(options) => conformance::main(&place, &options),
            Job::WaysBack(options) => ways_back::main(&place, &options),
            Job::Give { place, uid } => {
                bottle_host::workspace::give(&place, rustix::fs::Uid::from_raw(uid))?;
                Ok(ExitCode::SUCCESS)
            }
            Job::Compare(options) => compare::main(&place, &options),
            Job::Soak(options) => soak::main(&place, &options),
            Job::CompareReal(options) => compare::real(&place, &options),
            Job::Forward { socket, mtu } => compare::forward(&socket, mtu),
            Job::PingPong { address, count } => compare::ping_pong(address, count),
            Job::Judge(job) => conformance::judge(&place, &job),
            Job::Witness { port, nonce } => {
                conformance::serve_witness(port, &nonce)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    };
    done().unwrap_or_else(|error| {
        eprintln!("bottle-harness: {error:#}");
        ExitCode::from(125)
    })
}
