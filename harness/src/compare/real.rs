//! A real guest: bottle beside what smolvm has itself. Without KVM this runs in the outer machine,
//! where both are emulated alike.

use super::report::{Better, Figures, Report};
use crate::ground::{Ground, Guest, STACKS};
use crate::outer;
use crate::place::Place;
use crate::processes::{ended_or_killed, ended_within};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::HELPER;
use bottle_guest::flow::{self, Direction};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// MiB of a flow, with KVM and without.
const MIB: [u64; 2] = [1024, 16];
/// Under emulation guests take what they take, and some freeze or die. The rest of the comparison takes
/// five minutes, and all of it is to take ten.
const LIMIT: Duration = Duration::from_secs(300);
/// Half as much again as a round takes.
const ROUND: Duration = Duration::from_secs(100);
/// A guest under emulation now and then does not start.
const TRIES: u32 = 4;
/// How long one guest may take, several times what it does; and then to end.
const PATIENCE: Duration = Duration::from_secs(45);
const GRACE: Duration = Duration::from_secs(10);
/// smolvm's gateway, where its virtio-net has this host's loopback.
const SMOLVM_GATEWAY: &str = "100.96.0.1";

/// How much, and where the figures go.
#[derive(Clone, Debug, clap::Args)]
pub struct Real {
    /// Its number, which says who begins
    #[arg(long)]
    round: usize,
    /// The file that takes the figures
    #[arg(long)]
    out: PathBuf,
}

/// How many ways there are to run `true`.
const RUNS: usize = 3;

/// What was measured, in the order of the rounds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    /// Seconds of `run -- true`: bottle's, smolvm's, and smolvm's with a folder shared, as bottle
    /// shares its helper's.
    run: [Vec<f64>; RUNS],
    /// MB/s to a port of the host and from it: bottle's with each stack, and smolvm's virtio-net.
    flows: [[Vec<f64>; 3]; 2],
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.run.iter_mut().zip(other.run).for_each(|(all, one)| all.extend(one));
        let flows = self.flows.iter_mut().flatten().zip(other.flows.into_iter().flatten());
        flows.for_each(|(all, one)| all.extend(one));
    }
}

pub fn compare(place: &Place, rounds: usize, report: &mut Report) -> Result<()> {
    let emulated = !outer::has_kvm();
    if emulated && !place.tools().join("outer/initrd.gz").exists() {
        report.skip("a real guest", "there is neither KVM nor an outer machine: `make setup` builds one");
        return Ok(());
    }
    let (mut measured, mut done, end) = (Measured::default(), 0, Instant::now() + LIMIT);
    for number in 0..rounds {
        let left = end.saturating_duration_since(Instant::now());
        if emulated && left.is_zero() {
            break;
        }
        // A guest that freezes may take the outer machine along, as may its kernel's end: each round
        // has one of its own.
        match round(place, number, emulated.then_some(ROUND.min(left))) {
            Ok(Some(one)) => {
                measured.add(one);
                done += 1;
            }
            Ok(None) => {}
            Err(error) => eprintln!("a round of real guests: {error:#}"),
        }
    }
    if done < rounds {
        let why = format!("{} of {rounds} rounds: a guest froze or died, or the time was up", rounds - done);
        report.skip("a real guest", &why);
    }
    let Measured { run: [own, smolvm, sharing], flows } = measured;
    let figures = [
        Figures { system: "bottle", values: own, goal: None },
        Figures { system: "smolvm", values: smolvm, goal: Some(1.0 / 1.15) },
        Figures { system: "smolvm, sharing", values: sharing, goal: None },
    ];
    report.add("run -- true, real guest", "s", Better::Lower, &figures);
    for (direction, [gvproxy, kernel, virtio]) in Direction::BOTH.into_iter().zip(flows) {
        for (stack, values) in STACKS.into_iter().zip([gvproxy, kernel]) {
            let figures = [
                Figures { system: "bottle", values, goal: None },
                Figures { system: "smolvm virtio-net", values: virtio.clone(), goal: Some(1.2) },
            ];
            let what = format!("{direction} a door, real guest, {stack}");
            report.add(&what, "MB/s", Better::Higher, &figures);
        }
    }
    Ok(())
}

/// One round: where guests boot here, or in an outer machine that is given so long. `None` where it
/// came to nothing.
fn round(place: &Place, number: usize, limit: Option<Duration>) -> Result<Option<Measured>> {
    let number = number.to_string();
    let words = |out: &Path| -> Result<Vec<OsString>> {
        let words = ["compare-real", "--round", &number, "--out"].map(OsString::from);
        Ok([place.program("bottle-harness")?.into()].into_iter().chain(words).chain([out.into()]).collect())
    };
    let measured = match limit {
        Some(limit) => outer::run_for_result(place, &words(outer::RESULT.as_ref())?, limit)?,
        None => {
            let out = tempfile::NamedTempFile::new()?;
            let words = words(out.path())?;
            let status = Command::new(&words[0]).args(&words[1..]).status()?;
            status.success().then(|| fs::read(out.path())).transpose()?
        }
    };
    Ok(measured.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// `bottle-harness compare-real`: one round, where real guests boot.
///
/// # Errors
/// Where a guest does not start in four tries.
pub fn real(place: &Place, options: &Real) -> Result<ExitCode> {
    let bench = Bench::new(place)?;
    let mut measured = Measured::default();
    // The first guest finds nothing in the page cache, and bottle asks smolvm for its version once.
    timed(|| bench.bottle(STACKS[0], &["true"]))?;
    // Each is first, in the middle and last in turn.
    for at in (0..RUNS).map(|at| (at + options.round) % RUNS) {
        let run = || match at {
            0 => bench.bottle(STACKS[0], &["true"]),
            1 => bench.bare(&["true"]),
            _ => bench.smolvm(&[], &["true"]),
        };
        measured.run[at].push(timed(run)?.1);
    }
    for (at, stack) in STACKS.into_iter().enumerate() {
        bench.flows(&mut measured, at, |words| bench.bottle(stack, words), &bench.door(stack)?)?;
    }
    let gateway = format!("{SMOLVM_GATEWAY}:{}", bench.port);
    let net = ["--net", "--net-backend", "virtio-net"];
    bench.flows(&mut measured, STACKS.len(), |words| bench.smolvm(&net, words), &gateway)?;
    fs::write(&options.out, serde_json::to_vec(&measured)?)?;
    Ok(ExitCode::SUCCESS)
}

struct Bench<'p> {
    ground: Ground<'p>,
    /// The flows' server, on this host's loopback.
    port: u16,
    mib: u64,
}

impl<'p> Bench<'p> {
    fn new(place: &'p Place) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        flow::serve(listener);
        let mib = MIB[usize::from(std::env::var_os("BOTTLE_OUTER").is_some())];
        let bench = Self { ground: Ground::new(place, Guest::Real)?, port, mib };
        for stack in STACKS {
            let config =
                format!("[network]\nstack = \"{stack}\"\n[supervise]\naddress = \"127.0.0.1:{port}\"\n");
            bench.ground.project(stack, &config)?;
        }
        Ok(bench)
    }

    /// A fresh bottle with this stack, and a command in it.
    fn bottle(&self, stack: &str, words: &[&str]) -> Result<Command> {
        let project = self.ground.path().join("project").join(stack);
        self.ground.bottle(&project, &[&["run", "--"], words].concat())
    }

    /// A fresh machine of smolvm's with nothing that it was not asked for, and a command in it.
    fn bare(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.ground.bare_machine()?;
        command.arg("--").args(words);
        Ok(command)
    }

    /// A fresh machine of smolvm's with the helper in it, and a command.
    fn smolvm(&self, network: &[&str], words: &[&str]) -> Result<Command> {
        let mut command = self.ground.machine(network)?;
        command.arg("--").args(words);
        Ok(command)
    }

    fn door(&self, stack: &str) -> Result<String> {
        let plan = self.ground.plan(&self.ground.path().join("project").join(stack))?;
        let port = plan.doors.port(Sidecar::Supervise).context("a door")?;
        Ok(format!("{}:{port}", plan.subnet.proxy()))
    }

    /// A flow in each direction, in one guest.
    fn flows(
        &self,
        measured: &mut Measured,
        at: usize,
        run: impl Fn(&[&str]) -> Result<Command>,
        address: &str,
    ) -> Result<()> {
        let flow = |direction| format!("{HELPER} flow {address} {direction} {}", self.mib);
        let both = format!("{} && {}", flow(Direction::BOTH[0]), flow(Direction::BOTH[1]));
        let (said, _) = timed(|| run(&["sh", "-c", &both]))?;
        let lines: Vec<&str> = said.lines().collect();
        ensure!(lines.len() == Direction::BOTH.len(), "flows: {said}");
        for (flows, line) in measured.flows.iter_mut().zip(lines) {
            flows[at].push(flow::rate(self.mib, line.as_bytes()).context("a flow's seconds")?);
        }
        Ok(())
    }
}

/// What a command that ends well prints, and the seconds that it took.
fn timed(make: impl Fn() -> Result<Command>) -> Result<(String, f64)> {
    for attempt in 1..=TRIES {
        let since = Instant::now();
        let (ended, said) = within(make()?, PATIENCE)?;
        if ended.is_some_and(|status| status.success()) {
            return Ok((said, since.elapsed().as_secs_f64()));
        }
        let how = ended.map_or_else(|| "froze".to_owned(), |status| format!("ended with {status}"));
        eprintln!("a guest {how} (attempt {attempt} of {TRIES}): {said}");
    }
    bail!("no guest lived through it");
}

/// How a command ended within a limit, and what it printed. One that takes longer is told to end.
fn within(mut command: Command, limit: Duration) -> Result<(Option<ExitStatus>, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("its output")?;
    let reader = thread::spawn(move || {
        let mut said = String::new();
        let _ = out.read_to_string(&mut said);
        said
    });
    let ended = ended_within(&mut child, limit)?;
    if ended.is_none() {
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        ended_or_killed(&mut child, GRACE)?;
        // What is left behind may still hold the pipe: not waited for.
        return Ok((None, String::new()));
    }
    Ok((ended, reader.join().unwrap_or_default()))
}
