//! The `bottle-harness` command. The library says what it does.

use anyhow::{Result, bail};
use bottle_harness::checkout::Checkout;
use bottle_harness::{
    agents, builds, compare, conformance, demo, examples, life, outer, scale, soak, ways_back,
};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Shows and proves what bottle does.
#[derive(Parser)]
#[command(name = "bottle-harness", version)]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Run a command in the outer machine, in which KVM works
    Outer {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run a command on a machine that boots guests: this one, or the outer machine
    Bootable {
        /// Take the outer machine in any case: the command changes what is the kernel's
        #[arg(long)]
        outer: bool,
        /// How many seconds it may take in the outer machine [default: 450]
        #[arg(long)]
        limit: Option<u64>,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show in a real guest what it reaches and what it is refused
    Demo,
    /// Run each example, and each line of the README, as they are written
    Examples(examples::Options),
    /// Go through a bottle's life in a real guest: start, the keeper's death, a restart, removal
    Life,
    /// Judge bottle, each of its walls alone, and networks that must be found leaking
    Conformance(conformance::Options),
    /// Run the real command-line agents, each in a bottle, against a scripted model
    Agents(agents::Options),
    /// Install and run small packages of several registries, each in a guest that reaches its registry alone
    Builds(builds::Options),
    /// Attack the host with what comes back from a guest, with each defence and without it
    WaysBack(ways_back::Options),
    /// Give a guest's copy to a user, as the keeper does, for an attack
    #[command(hide = true)]
    Give {
        /// The copy
        copy: PathBuf,
        /// The user
        uid: u32,
    },
    /// Measure bottle beside the alternatives, all in one run
    Compare(compare::Options),
    /// Measure how cost grows with bottles, rules, tunnels, lines of a log and files of a copy
    Scale(scale::Options),
    /// Keep bottles busy for a long time, and look for leaks and stalls
    Soak(soak::Options),
    /// Measure real guests on a machine that boots them
    #[command(hide = true)]
    CompareReal(compare::Real),
    /// Run a guest's end of stock gvproxy, for `compare`
    #[command(hide = true)]
    Forward {
        /// gvproxy's socket, with QEMU's framing
        #[arg(long)]
        socket: PathBuf,
        /// The link's MTU
        #[arg(long)]
        mtu: u16,
    },
    /// Splice each connection to one place to another place, for `compare`
    #[command(hide = true)]
    Splice {
        /// An address or a path to listen at
        from: compare::Place,
        /// An address or a path to connect to
        to: compare::Place,
    },
    /// Open tunnels through a proxy, and hold them until the input ends
    #[command(hide = true)]
    Hold {
        /// The proxy's address
        proxy: String,
        /// The host and port that tunnels lead to
        target: String,
        /// How many
        #[arg(long)]
        count: usize,
    },
    /// Connect, send and receive one byte, again and again, and print how many microseconds each took
    #[command(hide = true)]
    PingPong {
        /// The address to connect to
        address: SocketAddr,
        /// How many times
        #[arg(long)]
        count: usize,
    },
    /// Connect from several threads, each time for one byte, and print how many connections a second there were
    #[command(hide = true)]
    ConnectMany {
        /// The address to connect to
        address: SocketAddr,
        /// How many times
        #[arg(long)]
        count: usize,
        /// How many at once
        #[arg(long)]
        at_once: usize,
    },
    /// Send and receive in bulk through a proxy's tunnels, and print the seconds of each direction
    #[command(hide = true)]
    FlowThrough {
        /// The proxy's address [default: none, for what the machine itself can]
        #[arg(long)]
        proxy: Option<String>,
        /// The host and port to connect to
        target: String,
        /// How many MiB
        #[arg(long)]
        mib: u64,
    },
    /// Judge one subject in a namespace of its own
    #[command(hide = true)]
    Judge(conformance::Judge),
    /// Serve the witness's page, as a sidecar that will be killed
    #[command(hide = true)]
    Witness {
        /// The port to listen on
        #[arg(long)]
        port: u16,
        /// The run's number
        #[arg(long)]
        nonce: String,
    },
}

fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        let job = match Args::parse().job {
            // A guest does not see the checkout.
            Job::Hold { proxy, target, count } => return scale::hold(&proxy, &target, count),
            job => job,
        };
        let checkout = Checkout::find()?;
        match job {
            Job::Outer { command } => outer::run(&checkout, &command),
            Job::Bootable { outer, limit, command } => {
                outer::run_where_guests_boot(&checkout, &command, outer, limit.map(Duration::from_secs))
            }
            Job::Demo => demo::main(&checkout),
            Job::Examples(options) => examples::main(&checkout, &options),
            Job::Life => life::main(&checkout),
            Job::Agents(options) => agents::main(&checkout, &options),
            Job::Builds(options) => builds::main(&checkout, &options),
            Job::Conformance(options) => conformance::main(&checkout, &options),
            Job::WaysBack(options) => ways_back::main(&checkout, &options),
            Job::Give { copy, uid } => {
                bottle_host::workspace::give(&copy, rustix::fs::Uid::from_raw(uid))?;
                Ok(ExitCode::SUCCESS)
            }
            Job::Compare(options) => compare::main(&checkout, &options),
            Job::Scale(options) => scale::main(&checkout, &options),
            Job::Soak(options) => soak::main(&checkout, &options),
            Job::CompareReal(options) => compare::real(&checkout, &options),
            Job::Forward { socket, mtu } => compare::forward(&socket, mtu),
            Job::Splice { from, to } => compare::splice_all(&from, &to),
            Job::PingPong { address, count } => compare::ping_pong(address, count),
            Job::ConnectMany { address, count, at_once } => compare::connect_many(address, count, at_once),
            Job::FlowThrough { proxy, target, mib } => compare::flow_through(proxy.as_deref(), &target, mib),
            Job::Judge(job) => conformance::judge(&checkout, &job),
            Job::Hold { .. } => bail!("it runs in a guest"),
            Job::Witness { port, nonce } => {
                conformance::serve_witness(port, &nonce)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    };
    run().unwrap_or_else(|error| {
        eprintln!("bottle-harness: {error:#}");
        ExitCode::from(125)
    })
}
