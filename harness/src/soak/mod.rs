//! The soak: an hour of mixed traffic in stand-in guests, or gigabytes through a real one, without a leak of
//! memory, descriptors or processes, and without a stall.
//!
//! [`traffic`] generates the guests' traffic and checks every byte and answer. [`usage`] measures what a
//! bottle's processes use, before and after.

mod traffic;
mod usage;

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, RunningBottle, STACKS};
use crate::outer;
use crate::page::Page;
use anyhow::{Context, Result};
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use traffic::{Tally, Traffic};
use usage::Usage;

/// How much traffic to make, and in which guests.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The kind of guest
    #[arg(long, value_enum, default_value = "namespace")]
    guest: Guest,
    /// Minutes of mixed traffic, for stand-in guests
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// MiB in each direction, for a real guest
    #[arg(long, default_value_t = 2048)]
    mib: u64,
    /// Use only this network stack
    #[arg(long, value_parser = STACKS)]
    stack: Option<String>,
}

/// How long ended connections and their timers may take to disappear.
const SETTLE: Duration = Duration::from_secs(10);
/// How much resident memory may grow after the warm-up, in MiB. That is an allocator's slack.
const SLACK: f64 = 4.0;

/// The result of one bottle.
#[derive(Debug, Serialize)]
struct SoakResult {
    stack: &'static str,
    minutes: f64,
    did: Tally,
    before: Usage,
    after: Usage,
    faults: Vec<String>,
}

/// Generates the traffic, and reports what leaked or stalled.
///
/// # Errors
/// Returns an error if it cannot begin.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    if options.guest == Guest::Real && !outer::has_kvm() {
        let mib = options.mib.to_string();
        let mut words: Vec<OsString> = vec![checkout.program("bottle-harness")?.into()];
        words.extend(["soak", "--guest", "real", "--mib", &mib].map(OsString::from));
        words.extend(options.stack.iter().flat_map(|stack| ["--stack", stack]).map(OsString::from));
        return outer::run(checkout, &words);
    }
    let environment = Environment::new(checkout, options.guest)?;
    let stacks = STACKS.into_iter().filter(|stack| options.stack.as_ref().is_none_or(|only| only == stack));
    let mut results = Vec::new();
    if options.guest == Guest::Real {
        // One machine at a time: under emulation, two rarely survive.
        for stack in stacks {
            let one = soak(&environment, stack, |traffic| traffic.bulk(options.mib))?;
            print(&one);
            results.push(one);
        }
    } else {
        let time = Duration::from_secs_f64(options.minutes * 60.0);
        thread::scope(|scope| -> Result<()> {
            let soak = |stack| soak(&environment, stack, |traffic| traffic.mixed(Instant::now() + time));
            let soaking: Vec<_> = stacks.map(|stack| scope.spawn(move || soak(stack))).collect();
            for one in soaking {
                results.push(one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
            }
            Ok(())
        })?;
        let folder = checkout.root().join("target/soak");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("soak.json"), serde_json::to_string_pretty(&results)?)?;
        results.iter().for_each(print);
    }
    let is_clean = results.iter().all(|result| result.faults.is_empty());
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn soak(
    environment: &Environment,
    stack: &'static str,
    work: impl Fn(&Traffic) -> Result<Tally>,
) -> Result<SoakResult> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let flows = listener.local_addr()?;
    bottle_guest::flow::serve(listener);
    let page = Page::serve(traffic::PAGE)?;
    let config = format!(
        "[network]\nstack = \"{stack}\"\n[supervise]\naddress = \"{flows}\"\n[egress]\n\
         allow = [\"page.test:{0}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\n",
        page.port()
    );
    let bottle = started(environment, &format!("soak-{stack}"), &config)?;
    let traffic = Traffic::new(&bottle, page.port())?;
    let since = Instant::now();
    // Measure only after everything was used once: what is allocated once and kept is not a leak.
    traffic.warm_up()?;
    thread::sleep(SETTLE);
    let before = Usage::of(&bottle)?;
    let did = work(&traffic)?;
    thread::sleep(SETTLE);
    let after = Usage::of(&bottle).context("after the traffic")?;
    let mut faults = did.faults.clone();
    faults.extend(before.grown_to(&after, SLACK));
    Ok(SoakResult { stack, minutes: since.elapsed().as_secs_f64() / 60.0, did, before, after, faults })
}

/// Brings a bottle up. A guest under emulation sometimes fails to start, which proves nothing, and is tried
/// again.
fn started(environment: &Environment, slug: &str, config: &str) -> Result<RunningBottle> {
    const TRIES: u32 = 4;
    let mut tries = 1;
    loop {
        match environment.small_project(slug, config)?.up() {
            Err(error) if environment.is_real() && tries < TRIES => {
                eprintln!("{slug} did not start (attempt {tries} of {TRIES}): {error:#}");
                tries += 1;
            }
            done => return done,
        }
    }
}

fn print(result: &SoakResult) {
    let SoakResult { stack, minutes, did, before, after, faults } = result;
    println!("stack = {stack}, {minutes:.1} minutes: {did}");
    println!("  before  {before}\n  after   {after}");
    for fault in faults {
        println!("  FAULT   {fault}");
    }
    if faults.is_empty() {
        println!("  no leak, no stall");
    }
}
