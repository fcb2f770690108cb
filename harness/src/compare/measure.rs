//! Single measurements.

use super::routes::Route;
use crate::checkout::Checkout;
use anyhow::{Context, Result, ensure};
use bottle_guest::flow::Direction;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TRIES: u32 = 5;

/// Measures with iperf3 how many megabytes arrive per second, and how many seconds of processor time the whole
/// machine spends for each gigabyte. On a machine that does something else, too, the second figure is too high.
pub fn throughput(
    route: &Route,
    address: SocketAddr,
    direction: Direction,
    streams: u32,
) -> Option<[f64; 2]> {
    let (host, port, streams) = (address.ip().to_string(), address.port().to_string(), streams.to_string());
    let mut words =
        vec!["timeout", "20", "iperf3", "-c", &host, "-p", &port, "-t", "1", "-J", "-P", &streams];
    if direction == Direction::From {
        words.push("-R");
    }
    // The server serves one client at a time, and needs a moment to notice that the last one is gone.
    (0..TRIES).find_map(|n| {
        thread::sleep(Duration::from_millis(200) * n);
        let before = busy()?;
        let output = route.command(&words).output().ok()?;
        let spent = busy()? - before;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let received = &said["end"]["sum_received"];
        Some([received["bits_per_second"].as_f64()? / 8e6, spent / (received["bytes"].as_f64()? / 1e9)])
    })
}

/// Returns the seconds that all processors of this machine have worked since it started.
fn busy() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    // The fields of the first line are user, nice, system, idle, iowait, irq, softirq (proc(5)).
    let ticks: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    let worked = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<f64>();
    Some(worked / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    ticks
}

/// Measures the median and the 99th percentile of two hundred exchanges of one byte, in microseconds.
pub fn latency(checkout: &Checkout, route: &Route, address: SocketAddr) -> Option<[f64; 2]> {
    const COUNT: &str = "200";
    let harness = checkout.program("bottle-harness").ok()?;
    let address = address.to_string();
    let words = ["timeout", "20", harness.to_str()?, "ping-pong", &address, "--count", COUNT];
    let output = route.command(&words).output().ok()?;
    let mut all: Vec<f64> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect();
    all.sort_by(f64::total_cmp);
    let part = |hundredths: usize| all.get(all.len() * hundredths / 100).copied();
    Some([part(50)?, part(99)?])
}

/// Returns how many milliseconds a command takes, which must succeed. Its output is dropped.
pub fn time(mut command: Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let since = Instant::now();
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(since.elapsed().as_secs_f64() * 1e3)
}

/// Measures how many connections a second carry a byte there and back, eight at once.
pub fn connections(checkout: &Checkout, route: &Route, address: SocketAddr) -> Option<f64> {
    let harness = checkout.program("bottle-harness").ok()?;
    let address = address.to_string();
    let many = ["connect-many", &address, "--count", "2000", "--at-once", "8"];
    let words = [&["timeout", "20", harness.to_str()?][..], &many].concat();
    String::from_utf8_lossy(&route.command(&words).output().ok()?.stdout).trim().parse().ok()
}

/// Returns a process's resident memory, in MiB.
pub fn resident(pid: i64) -> Result<f64> {
    field(pid, "VmRSS:")
}

/// Returns the memory that only this process has, in MiB: what would be free without it.
pub fn private(pid: i64) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kib.sum::<f64>() / 1024.0)
}

/// Returns a process's peak resident memory, in MiB.
pub fn peak(pid: i64) -> Result<f64> {
    field(pid, "VmHWM:")
}

fn field(pid: i64, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such field")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// Returns the seconds of processor time that a process has used.
pub fn processor(pid: i64) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain spaces. The fields after its closing parenthesis do not (proc(5)).
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / ticks_per_second())
}
