//! The guests' traffic: flows in both directions, pages, refusals. Every byte and answer is checked, and
//! nothing may stall.

use crate::environment::RunningBottle;
use crate::processes::wait_or_kill;
use anyhow::{Context, Result, bail, ensure};
use bottle_core::helper::HELPER;
use bottle_core::sidecar::Sidecar;
use bottle_guest::flow::Direction;
use serde::Serialize;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The page's text.
pub const PAGE: &str = "soaked";
/// How long anything in the mixed traffic may take before it counts as stalled.
const STALL: Duration = Duration::from_secs(90);
/// The limit for a flow through a real guest, under emulation.
const LONG: Duration = Duration::from_secs(1800);
/// How many faults are collected. More would show nothing new.
const MOST_FAULTS: usize = 20;

/// The traffic so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub mib_to: u64,
    pub mib_from: u64,
    pub flows: u64,
    pub pages: u64,
    pub refusals: u64,
    /// The seconds of the bulk flows: to a door, and from it.
    pub seconds: Option<(f64, f64)>,
    pub faults: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mib_to, mib_from, flows, pages, refusals, .. } = self;
        write!(
            f,
            "{mib_to} MiB to a door and {mib_from} from it in {flows} flows, {pages} pages, {refusals} refusals"
        )?;
        match self.seconds {
            Some((to, from)) => write!(f, "; {to:.0} s and {from:.0} s"),
            None => Ok(()),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.mib_to += other.mib_to;
        self.mib_from += other.mib_from;
        self.flows += other.flows;
        self.pages += other.pages;
        self.refusals += other.refusals;
        self.faults.extend(other.faults);
    }
}

/// The traffic of one bottle.
pub struct Traffic<'b> {
    bottle: &'b RunningBottle,
    door: SocketAddr,
    page: u16,
}

impl<'b> Traffic<'b> {
    pub fn new(bottle: &'b RunningBottle, page: u16) -> Result<Self> {
        let plan = bottle.plan()?;
        let port = plan.doors.port(Sidecar::Supervise).context("a door")?;
        Ok(Self { bottle, door: (plan.subnet.proxy(), port).into(), page })
    }

    /// Generates each kind of traffic once.
    pub fn warm_up(&self) -> Result<()> {
        for direction in Direction::BOTH {
            self.flow(direction, 16, STALL)?;
        }
        self.page()?;
        self.refusal()
    }

    /// Sends this much in each direction, one after the other.
    pub fn bulk(&self, mib: u64) -> Result<Tally> {
        let mut tally = Tally { flows: 2, ..Tally::default() };
        let mut seconds = [0.0; 2];
        for (direction, took) in Direction::BOTH.into_iter().zip(&mut seconds) {
            *took =
                self.flow(direction, mib, LONG).with_context(|| format!("{mib} MiB {direction} a door"))?;
        }
        (tally.mib_to, tally.mib_from) = (mib, mib);
        tally.seconds = Some(seconds.into());
        Ok(tally)
    }

    /// Generates flows of many lengths, pages and refusals side by side until this moment.
    pub fn mixed(&self, end: Instant) -> Result<Tally> {
        let mut all = Tally::default();
        thread::scope(|scope| {
            let flows = [0, 1].map(|n| scope.spawn(move || self.flows(n, end)));
            let pages = scope.spawn(|| self.repeat(end, |tally| self.page().map(|()| tally.pages += 1)));
            let refusals =
                scope.spawn(|| self.repeat(end, |tally| self.refusal().map(|()| tally.refusals += 1)));
            for worker in flows.into_iter().chain([pages, refusals]) {
                let tally = worker.join().unwrap_or_else(|_| Tally {
                    faults: vec!["a worker panicked".to_owned()],
                    ..Tally::default()
                });
                all.add(tally);
            }
        });
        ensure!(all.flows > 0 && all.pages > 0 && all.refusals > 0, "nothing was done: {all}");
        Ok(all)
    }

    fn flows(&self, which: usize, end: Instant) -> Tally {
        let mut sizes = [1_u64, 64, 8, 1, 200, 32].into_iter().cycle();
        let mut directions = Direction::BOTH.into_iter().cycle().skip(which);
        self.repeat(end, |tally| {
            let (Some(mib), Some(direction)) = (sizes.next(), directions.next()) else { bail!("a cycle") };
            self.flow(direction, mib, STALL)?;
            tally.flows += 1;
            match direction {
                Direction::To => tally.mib_to += mib,
                Direction::From => tally.mib_from += mib,
            }
            Ok(())
        })
    }

    fn repeat(&self, end: Instant, mut step: impl FnMut(&mut Tally) -> Result<()>) -> Tally {
        let mut tally = Tally::default();
        let since = Instant::now();
        while Instant::now() < end && tally.faults.len() < MOST_FAULTS {
            if let Err(error) = step(&mut tally) {
                let minute = since.elapsed().as_secs() / 60;
                tally.faults.push(format!("in minute {minute}: {}", format!("{error:#}").trim()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        tally
    }

    fn flow(&self, direction: Direction, mib: u64, limit: Duration) -> Result<f64> {
        let words = [HELPER, "flow", &self.door.to_string(), &direction.to_string(), &mib.to_string()];
        let (said, well) = self.guest(&words, limit)?;
        ensure!(well, "{mib} MiB {direction} a door: {said}");
        said.trim().parse().with_context(|| said.clone())
    }

    fn page(&self) -> Result<()> {
        let get = format!("http_proxy=$HTTP_PROXY wget -q -O- http://page.test:{}/", self.page);
        let (said, well) = self.guest(&["sh", "-c", &get], STALL)?;
        ensure!(well && said == PAGE, "a page: {said}");
        let (said, well) =
            self.guest(&["sh", "-c", "http_proxy=$HTTP_PROXY wget -q -O- http://other.test/ 2>&1"], STALL)?;
        ensure!(!well, "a page that is not allowed was served: {said}");
        Ok(())
    }

    /// Tries destinations that must be refused at once.
    fn refusal(&self) -> Result<()> {
        for destination in ["192.0.2.1:443", "169.254.169.254:80", &format!("{}:1", self.door.ip())] {
            let since = Instant::now();
            let (said, well) = self.guest(&[HELPER, "flow", destination, "to", "1"], STALL)?;
            ensure!(!well && said.contains("cannot connect"), "{destination}: {said}");
            ensure!(
                since.elapsed() < Duration::from_secs(9),
                "{destination} was refused after {:?}",
                since.elapsed()
            );
        }
        Ok(())
    }

    /// Runs a program in the guest, and returns its output and whether it succeeded.
    fn guest(&self, words: &[&str], limit: Duration) -> Result<(String, bool)> {
        let mut command = self.bottle.command(&[&["--quiet", "exec", "--"], words].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let Some(status) = wait_or_kill(&mut child, limit)? else {
            bail!("{words:?} stalled for {} s", limit.as_secs());
        };
        Ok((printed(&mut child), status.success()))
    }
}

/// Returns the output of a child that has ended. It is a few lines, which fit into a pipe.
fn printed(child: &mut Child) -> String {
    let mut said = String::new();
    if let Some(out) = &mut child.stdout {
        let _ = out.read_to_string(&mut said);
    }
    if let Some(out) = &mut child.stderr {
        let _ = out.read_to_string(&mut said);
    }
    said
}
