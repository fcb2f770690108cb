//! A real guest: bottle beside smolvm's own networks. Without KVM this runs in the outer machine, where both
//! are emulated.

use super::report::{Better, Figures, Report};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project, STACKS, answer};
use crate::outer;
use crate::processes::{wait_at_most, wait_or_kill};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::helper::HELPER;
use bottle_core::sidecar::Sidecar;
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

/// The MiB of a flow, with KVM and without.
const MIB: [u64; 2] = [1024, 16];
/// How long all rounds together may take. Under emulation guests are slow, and some freeze or die. The rest
/// of the comparison takes five minutes, and all of it should take ten.
const LIMIT: Duration = Duration::from_secs(300);
/// How long a round may take: one and a half times as long as it usually takes.
const ROUND: Duration = Duration::from_secs(120);
/// How often a guest is tried. Under emulation one sometimes fails to start.
const TRIES: u32 = 4;
/// How long one guest may take: several times as long as it usually takes.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long it may take to end after that.
const GRACE: Duration = Duration::from_secs(10);
/// smolvm's gateway, where its virtio-net exposes this host's loopback.
const SMOLVM_GATEWAY: &str = "100.96.0.1";

/// Which round, and where the figures go.
#[derive(Clone, Debug, clap::Args)]
pub struct Real {
    /// The round's number, which decides who begins
    #[arg(long)]
    round: usize,
    /// Write the figures to this file
    #[arg(long)]
    out: PathBuf,
}

/// The number of ways to run `true`.
const RUNS: usize = 3;

/// The measurements, in the order of the rounds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    /// The seconds that `run -- true` takes: bottle's, smolvm's, and smolvm's with a shared folder, like
    /// bottle's with its helper.
    run: [Vec<f64>; RUNS],
    /// The milliseconds of `exec -- true` in a machine that is up: bottle's, and smolvm's of the same machine.
    exec: [Vec<f64>; 2],
    /// The seconds that bottle's `run -- true` takes if it begins as a machine that waits.
    warm: Vec<f64>,
    /// The MB/s to a port of the host and from it: bottle's with each stack, and those of smolvm's
    /// virtio-net.
    flows: [[Vec<f64>; STACKS.len() + 1]; 2],
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.run.iter_mut().zip(other.run).for_each(|(all, one)| all.extend(one));
        self.exec.iter_mut().zip(other.exec).for_each(|(all, one)| all.extend(one));
        self.warm.extend(other.warm);
        let flows = self.flows.iter_mut().flatten().zip(other.flows.into_iter().flatten());
        flows.for_each(|(all, one)| all.extend(one));
    }
}

pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    let emulated = !outer::has_kvm();
    if emulated && !checkout.tools().join("outer/initrd.gz").exists() {
        report.skip("a real guest", "there is neither KVM nor an outer machine: `make setup` builds one");
        return Ok(());
    }
    let (mut measured, mut done, end) = (Measured::default(), 0, Instant::now() + LIMIT);
    for number in 0..rounds {
        let left = end.saturating_duration_since(Instant::now());
        if emulated && left.is_zero() {
            break;
        }
        // Each round has its own outer machine, because a frozen guest may take the machine down.
        match round(checkout, number, emulated.then_some(ROUND.min(left))) {
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
    let Measured { run: [own, smolvm, sharing], exec: [exec, bare], warm, flows } = measured;
    let figures = [
        Figures { system: "bottle", values: warm, goal: None },
        Figures { system: "smolvm", values: smolvm.clone(), goal: Some(1.0) },
    ];
    report.add("run -- true, a machine waits, real guest", "s", Better::Lower, &figures);
    let figures = [
        Figures { system: "bottle", values: own, goal: None },
        Figures { system: "smolvm", values: smolvm, goal: Some(1.0) },
        Figures { system: "smolvm, sharing", values: sharing, goal: None },
    ];
    report.add("run -- true, real guest", "s", Better::Lower, &figures);
    let figures = [
        Figures { system: "bottle", values: exec, goal: None },
        Figures { system: "smolvm", values: bare, goal: Some(1.0 / 1.05) },
    ];
    report.add("exec -- true, real guest", "ms", Better::Lower, &figures);
    for (direction, mut flows) in Direction::BOTH.into_iter().zip(flows) {
        let virtio = std::mem::take(&mut flows[STACKS.len()]);
        for (stack, values) in STACKS.into_iter().zip(flows) {
            let figures = [
                Figures { system: "bottle", values, goal: None },
                Figures { system: "smolvm virtio-net", values: virtio.clone(), goal: Some(3.0) },
            ];
            let what = format!("{direction} a door, real guest, {stack}");
            report.add(&what, "MB/s", Better::Higher, &figures);
        }
    }
    Ok(())
}

/// Runs one round: here if guests boot here, or in an outer machine with a time limit. Returns `None` if
/// there was no result.
fn round(checkout: &Checkout, number: usize, limit: Option<Duration>) -> Result<Option<Measured>> {
    let number = number.to_string();
    let words = |out: &Path| -> Result<Vec<OsString>> {
        let words = ["compare-real", "--round", &number, "--out"].map(OsString::from);
        Ok([checkout.program("bottle-harness")?.into()]
            .into_iter()
            .chain(words)
            .chain([out.into()])
            .collect())
    };
    let measured = match limit {
        Some(limit) => outer::run_for_result(checkout, &words(outer::RESULT.as_ref())?, limit)?,
        None => {
            let out = tempfile::NamedTempFile::new()?;
            let words = words(out.path())?;
            let status = Command::new(&words[0]).args(&words[1..]).status()?;
            status.success().then(|| fs::read(out.path())).transpose()?
        }
    };
    Ok(measured.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Runs `bottle-harness compare-real`: one round, on a machine that boots real guests.
///
/// # Errors
/// Returns an error if a guest does not start in four tries.
pub fn real(checkout: &Checkout, options: &Real) -> Result<ExitCode> {
    let bench = Bench::new(checkout)?;
    let mut measured = Measured::default();
    // Warm up: the first guest finds an empty page cache, and bottle asks smolvm for its version once.
    timed(|| bench.bottle(0, &["true"]))?;
    // Each takes its turn at being first, second and last.
    for at in (0..RUNS).map(|at| (at + options.round) % RUNS) {
        let run = || match at {
            0 => bench.bottle(0, &["true"]),
            1 => bench.bare(&["true"]),
            _ => bench.smolvm(&[], &["true"]),
        };
        measured.run[at].push(timed(run)?.1);
    }
    // Last, because the machine that takes its place boots afterwards.
    bench.keep_ready()?;
    measured.warm.push(timed(|| Ok(bench.pooled(&["--quiet", "run", "--", "true"])))?.1);
    bench.drain()?;
    for stack in 0..STACKS.len() {
        bench.flows(&mut measured, stack, |words| bench.bottle(stack, words), &bench.door(stack)?)?;
    }
    let gateway = format!("{SMOLVM_GATEWAY}:{}", bench.port);
    let net = ["--net", "--net-backend", "virtio-net"];
    bench.flows(&mut measured, STACKS.len(), |words| bench.smolvm(&net, words), &gateway)?;
    bench.execs(&mut measured)?;
    fs::write(&options.out, serde_json::to_vec(&measured)?)?;
    Ok(ExitCode::SUCCESS)
}

struct Bench {
    environment: Environment,
    /// One project for each of [`STACKS`].
    projects: Vec<Project>,
    /// The port of the server for flows, on this host's loopback.
    port: u16,
    mib: u64,
}

impl Bench {
    fn new(checkout: &Checkout) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        flow::serve(listener);
        let mib = MIB[usize::from(std::env::var_os("BOTTLE_OUTER").is_some())];
        let environment = Environment::new(checkout, Guest::Real)?;
        let project = |stack: &str| {
            let supervise = format!("[supervise]\naddress = \"127.0.0.1:{port}\"\n");
            environment.small_project(stack, &format!("[network]\nstack = \"{stack}\"\n{supervise}"))
        };
        let projects = STACKS.into_iter().map(project).collect::<Result<_>>()?;
        Ok(Self { environment, projects, port, mib })
    }

    /// Returns a command in a fresh bottle with the given stack of [`STACKS`].
    fn bottle(&self, stack: usize, words: &[&str]) -> Result<Command> {
        Ok(self.projects[stack].command(&[&["--quiet", "run", "--"], words].concat()))
    }

    /// Returns `bottle` in the first project, of a person whose defaults keep a machine ready.
    fn pooled(&self, words: &[&str]) -> Command {
        let mut command = self.projects[0].command(words);
        command.env("XDG_CONFIG_HOME", self.environment.path("own"));
        command
    }

    /// Returns whether every machine of the pool is one that waits, and how many there are.
    fn waiting(&self) -> Result<(bool, usize)> {
        let machines = answer(&self.pooled(&["pool", "--json"]).output()?.stdout)?;
        let machines = machines.as_array().context("a list")?;
        Ok((machines.iter().all(|machine| machine["state"] == "waits"), machines.len()))
    }

    /// Waits until a machine is ready for a run.
    fn keep_ready(&self) -> Result<()> {
        let own = self.environment.path("own/bottle");
        fs::create_dir_all(&own)?;
        fs::write(own.join("config.toml"), "[pool]\nwarm = 1\n")?;
        timed(|| Ok(self.pooled(&["--quiet", "run", "--", "true"])))?;
        self.until(|waiting| waiting == (true, 1))
    }

    /// Removes what waits, so that it disturbs nothing.
    fn drain(&self) -> Result<()> {
        ensure!(self.pooled(&["--quiet", "pool", "--drain"]).status()?.success(), "bottle pool --drain");
        self.until(|(_, machines)| machines == 0)
    }

    fn until(&self, is_so: impl Fn((bool, usize)) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_so(self.waiting()?) {
            ensure!(Instant::now() < end, "the pool does not become as it should");
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Returns a command in a fresh machine of smolvm's, without extras.
    fn bare(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.environment.bare_machine()?;
        command.arg("--").args(words);
        Ok(command)
    }

    /// Returns a command in a fresh machine of smolvm's that has the helper.
    fn smolvm(&self, network: &[&str], words: &[&str]) -> Result<Command> {
        let mut command = self.environment.machine(network)?;
        command.arg("--").args(words);
        Ok(command)
    }

    /// Measures `exec` in a machine that is up, in turn by bottle and by smolvm.
    fn execs(&self, measured: &mut Measured) -> Result<()> {
        const TURNS: usize = 5;
        let bottle = self.projects[0].clone().up()?;
        let machine = format!("bottle-{}", bottle.slug());
        for _ in 0..TURNS {
            let own = || Ok(bottle.command(&["--quiet", "exec", "--", "true"]));
            let bare = || {
                let mut smolvm = self.environment.smolvm()?;
                smolvm.args(["machine", "exec", "--name", &machine, "--", "true"]);
                Ok(smolvm)
            };
            measured.exec[0].push(timed(own)?.1 * 1e3);
            measured.exec[1].push(timed(bare)?.1 * 1e3);
        }
        Ok(())
    }

    fn door(&self, stack: usize) -> Result<String> {
        let plan = self.projects[stack].plan()?;
        let port = plan.doors.port(Sidecar::Supervise).context("a door")?;
        Ok(format!("{}:{port}", plan.subnet.proxy()))
    }

    /// Measures a flow in each direction, in one guest.
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

/// Runs a command until it succeeds. Returns its output, and how many seconds it took.
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
    bail!("no guest survived");
}

/// Runs a command with a time limit, and returns its status and output. At the limit it is asked to end.
fn within(mut command: Command, limit: Duration) -> Result<(Option<ExitStatus>, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("its output")?;
    let reader = thread::spawn(move || {
        let mut said = String::new();
        let _ = out.read_to_string(&mut said);
        said
    });
    let ended = wait_at_most(&mut child, limit)?;
    if ended.is_none() {
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        wait_or_kill(&mut child, GRACE)?;
        // Do not wait for the reader: a process that was left behind may still hold the pipe.
        return Ok((None, String::new()));
    }
    Ok((ended, reader.join().unwrap_or_default()))
}
