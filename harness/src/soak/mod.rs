//! An hour of mixed traffic in stand-in guests, or gigabytes through a real one: no leak of memory,
//! descriptors or processes, and no stall.
//!
//! [`traffic`] is what guests do, each byte and each answer looked at; [`holds`] is what a bottle's
//! processes have, before and after.

mod holds;
mod traffic;

use crate::ground::{Ground, Guest, STACKS, Up};
use crate::outer;
use crate::page::Page;
use crate::place::Place;
use anyhow::{Context, Result};
use holds::Holds;
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use traffic::{Tally, Traffic};

/// How long, and in what.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What the bottles' guests are
    #[arg(long, value_enum, default_value = "namespace")]
    guest: Guest,
    /// Minutes of mixed traffic, in stand-in guests
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// MiB in each direction, through a real guest
    #[arg(long, default_value_t = 2048)]
    mib: u64,
    /// With one network stack alone
    #[arg(long, value_parser = STACKS)]
    stack: Option<String>,
}

/// What connections that have ended, and their timers, may take to be gone.
const SETTLE: Duration = Duration::from_secs(10);
/// So much more memory may be resident than after the first minute, in MiB: an allocator's slack.
const SLACK: f64 = 4.0;

/// What came of one bottle.
#[derive(Debug, Serialize)]
struct Soaked {
    stack: &'static str,
    minutes: f64,
    did: Tally,
    before: Holds,
    after: Holds,
    faults: Vec<String>,
}

/// Soaks, and says what leaked or stalled.
///
/// # Errors
/// Where it cannot begin.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    if options.guest == Guest::Real && !outer::has_kvm() {
        let mib = options.mib.to_string();
        let mut words: Vec<OsString> = vec![place.program("bottle-harness")?.into()];
        words.extend(["soak", "--guest", "real", "--mib", &mib].map(OsString::from));
        words.extend(options.stack.iter().flat_map(|stack| ["--stack", stack]).map(OsString::from));
        return outer::run(place, &words);
    }
    let ground = Ground::new(place, options.guest)?;
    let stacks = STACKS.into_iter().filter(|stack| options.stack.as_ref().is_none_or(|only| only == stack));
    let mut soaked = Vec::new();
    if options.guest == Guest::Real {
        // One machine at a time: under emulation two seldom live.
        for stack in stacks {
            let one = soak(&ground, stack, |traffic| traffic.bulk(options.mib))?;
            print(&one);
            soaked.push(one);
        }
    } else {
        let time = Duration::from_secs_f64(options.minutes * 60.0);
        thread::scope(|scope| -> Result<()> {
            let soak = |stack| soak(&ground, stack, |traffic| traffic.mixed(Instant::now() + time));
            let soaking: Vec<_> = stacks.map(|stack| scope.spawn(move || soak(stack))).collect();
            for one in soaking {
                soaked.push(one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
            }
            Ok(())
        })?;
        let folder = place.root().join("target/soak");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("soak.json"), serde_json::to_string_pretty(&soaked)?)?;
        soaked.iter().for_each(print);
    }
    let well = soaked.iter().all(|soaked| soaked.faults.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn soak(ground: &Ground, stack: &'static str, work: impl Fn(&Traffic) -> Result<Tally>) -> Result<Soaked> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let flows = listener.local_addr()?;
    bottle_guest::flow::serve(listener);
    let page = Page::serve(traffic::PAGE)?;
    let config = format!(
        "[network]\nstack = \"{stack}\"\n[supervise]\naddress = \"{flows}\"\n[egress]\n\
         allow = [\"page.test:{0}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\n",
        page.port()
    );
    let up = started(ground, &format!("soak-{stack}"), &config)?;
    let traffic = Traffic::new(&up, page.port())?;
    let since = Instant::now();
    // Once everything was used: what is made once and kept is no leak.
    traffic.warm_up()?;
    thread::sleep(SETTLE);
    let before = Holds::of(&up)?;
    let did = work(&traffic)?;
    thread::sleep(SETTLE);
    let after = Holds::of(&up).context("after the traffic")?;
    let mut faults = did.faults.clone();
    faults.extend(before.grown_to(&after, SLACK));
    Ok(Soaked { stack, minutes: since.elapsed().as_secs_f64() / 60.0, did, before, after, faults })
}

/// A bottle that is up. A guest under emulation now and then does not start, which shows nothing.
fn started<'g>(ground: &'g Ground, slug: &str, config: &str) -> Result<Up<'g>> {
    const TRIES: u32 = 4;
    let mut tries = 1;
    loop {
        match Up::new(ground, slug, config) {
            Err(error) if ground.is_real() && tries < TRIES => {
                eprintln!("{slug} did not start (attempt {tries} of {TRIES}): {error:#}");
                tries += 1;
            }
            done => return done,
        }
    }
}

fn print(soaked: &Soaked) {
    let Soaked { stack, minutes, did, before, after, faults } = soaked;
    println!("stack = {stack}, {minutes:.1} minutes: {did}");
    println!("  before  {before}\n  after   {after}");
    for fault in faults {
        println!("  FAULT   {fault}");
    }
    if faults.is_empty() {
        println!("  no leak, no stall");
    }
}
