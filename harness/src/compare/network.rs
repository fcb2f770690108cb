//! Throughput and latency of a bottle's doors, with each of its network stacks, beside the alternatives.

use super::measure;
use super::report::{Better, Figures, Report};
use super::routes::{Route, free_port, quiet};
use crate::checkout::Checkout;
use crate::environment::STACKS;
use anyhow::Result;
use bottle_core::wire::MTU;
use bottle_guest::flow::Direction;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

/// How many times as good as this alternative each of bottle's stacks should be: gvproxy reaches what gvproxy can, and
/// `sockets` is not worse than pasta.
const GOALS: [(&str, &str, f64); 2] = [("gvproxy", "gvproxy, MTU 65000", 0.9), ("sockets", "pasta", 1.0)];
/// How many connections a second each route should carry at least.
const CONNECTIONS: f64 = 2000.0;

/// How many times the processor time of pasta a gigabyte may cost.
const DEARER: f64 = 1.1;

/// A route, and the addresses of iperf3 and the echo server there.
type RouteToPorts = (Route, SocketAddr, SocketAddr);

/// Measures throughput in each direction with one and eight streams, the round trip of one byte, and the
/// keepers' memory during that.
pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    let _pages = PipePages::for_all();
    let dir = tempfile::tempdir()?;
    let iperf = free_port()?;
    let mut server = Command::new("iperf3");
    server.args(["-s", "-B", "127.0.0.1", "-p", &iperf.to_string()]);
    let Ok(mut server) = quiet(server) else {
        report.skip("throughput", "iperf3 is not installed: it is in Debian's package iperf3 has it");
        return Ok(());
    };
    let echo = serve_echo()?;
    let own = STACKS.map(|stack| Route::bottle_doors(checkout, stack, iperf, echo));
    let own: Vec<RouteToPorts> = own.into_iter().collect::<Result<_>>()?;
    let mut peers: Vec<RouteToPorts> = Vec::new();
    for made in [
        Route::gvproxy("stock gvproxy", 1500, checkout, dir.path()),
        Route::gvproxy("gvproxy, MTU 65000", MTU, checkout, dir.path()),
        Route::pasta("pasta", &checkout.tools().join("peers/pasta")),
        Route::pasta("pasta of 2023", Path::new("pasta")),
        Route::passt(checkout, dir.path()),
        Route::spliced(checkout, dir.path(), [iperf, echo]),
    ] {
        match made {
            Ok(route) => {
                let host = route.host.parse::<std::net::IpAddr>()?;
                peers.push((route, (host, iperf).into(), (host, echo).into()));
            }
            Err(error) => report.skip("a peer", &format!("{error:#}")),
        }
    }
    let routes: Vec<&RouteToPorts> = own.iter().chain(&peers).collect();
    let keepers: Vec<i64> = own.iter().filter_map(|(route, ..)| route.keeper()).collect();
    let idle = keepers.iter().map(|pid| measure::resident(*pid)).collect::<Result<Vec<f64>>>()?;
    for (what, direction, streams) in [
        ("to a door, 1 stream", Direction::To, 1),
        ("from a door, 1 stream", Direction::From, 1),
        ("to a door, 8 streams", Direction::To, 8),
        ("from a door, 8 streams", Direction::From, 8),
    ] {
        let both = alternately(rounds, &routes, |(route, address, _)| {
            measure::throughput(route, *address, direction, streams).into_iter().flatten().collect()
        });
        add(report, what, "MB/s", Better::Higher, &routes, &every_second(&both, 0), goal);
        let cost = format!("processor for each GB, {what}");
        let goal = |stack, name| (stack != "gvproxy" && name == "pasta").then_some(1.0 / DEARER);
        add(report, &cost, "s", Better::Lower, &routes, &every_second(&both, 1), goal);
    }
    let busy = keepers.iter().map(|pid| measure::peak(*pid)).collect::<Result<Vec<f64>>>()?;
    let times = alternately(rounds, &routes, |(route, _, address)| {
        measure::latency(checkout, route, *address).into_iter().flatten().collect()
    });
    for (at, what) in [(0, "one byte there and back, p50"), (1, "one byte there and back, p99")] {
        add(report, what, "us", Better::Lower, &routes, &every_second(&times, at), goal);
    }
    let rates = alternately(rounds, &routes, |(route, _, address)| {
        measure::connections(checkout, route, *address).into_iter().collect()
    });
    add(report, "connections", "/s", Better::Higher, &routes, &rates, goal);
    for (stack, values) in STACKS.iter().zip(&rates) {
        let figures = [
            Figures { system: "bottle", values: values.clone(), goal: None },
            Figures { system: "the goal", values: vec![CONNECTIONS], goal: Some(1.0) },
        ];
        report.add(&format!("connections, {stack}, at least"), "/s", Better::Higher, &figures);
    }
    for (stack, values, most) in [("idle", idle, 12.0), ("most", busy, 40.0)] {
        let figures = [
            Figures { system: "bottle", values, goal: None },
            Figures { system: "the goal", values: vec![most], goal: Some(1.0) },
        ];
        report.add(&format!("keeper's memory, {stack}"), "MiB", Better::Lower, &figures);
    }
    let _ = server.kill();
    let _ = server.wait();
    Ok(())
}

fn goal(stack: &str, peer: &str) -> Option<f64> {
    GOALS.into_iter().find(|(own, other, _)| (*own, *other) == (stack, peer)).map(|(.., goal)| goal)
}

/// This machine's limit on the pages of one user's pipes, lifted. One pasta takes all that a user may have, and everything
/// here that splices runs as the same user.
struct PipePages(Option<String>);

const PIPE_PAGES: &str = "/proc/sys/fs/pipe-user-pages-soft";

impl PipePages {
    fn for_all() -> Self {
        let limit = fs::read_to_string(PIPE_PAGES).ok();
        Self(limit.filter(|_| fs::write(PIPE_PAGES, "0").is_ok()))
    }
}

impl Drop for PipePages {
    fn drop(&mut self) {
        if let Some(limit) = &self.0 {
            let _ = fs::write(PIPE_PAGES, limit);
        }
    }
}

/// Returns every second figure of each route, from the one at `first`.
fn every_second(figures: &[Vec<f64>], first: usize) -> Vec<Vec<f64>> {
    figures.iter().map(|figures| figures.iter().skip(first).step_by(2).copied().collect()).collect()
}

/// Measures the routes in turn, round after round.
fn alternately(
    rounds: usize,
    routes: &[&RouteToPorts],
    ask: impl Fn(&RouteToPorts) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); routes.len()];
    for _ in 0..rounds {
        for (route, figures) in routes.iter().zip(&mut figures) {
            figures.extend(ask(route));
        }
    }
    figures
}

/// Adds a measurement for each of bottle's stacks, beside the same figures of the others.
fn add(
    report: &mut Report,
    what: &str,
    unit: &'static str,
    better: Better,
    routes: &[&RouteToPorts],
    figures: &[Vec<f64>],
    goal: impl Fn(&'static str, &'static str) -> Option<f64>,
) {
    for (stack, own) in STACKS.iter().zip(figures) {
        let mut all = vec![Figures { system: "bottle", values: own.clone(), goal: None }];
        for ((route, ..), values) in routes.iter().zip(figures).skip(STACKS.len()) {
            all.push(Figures { system: route.name, values: values.clone(), goal: goal(stack, route.name) });
        }
        report.add(&format!("{what}, {stack}"), unit, better, &all);
    }
}

/// Runs a server that echoes the first byte of each connection.
fn serve_echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_ok() {
                    let _ = stream.write_all(&byte);
                    let _ = stream.read(&mut byte);
                }
            });
        }
    });
    Ok(port)
}
