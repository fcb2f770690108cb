//! Requests per second through the built-in egress proxy, and bytes through its tunnels, beside tinyproxy and squid with
//! the same upstream.
//!
//! The same client sends requests to each proxy on loopback: bottle's inside its jail, where its door is.

use super::report::{Better, Figures, Report};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, RunningBottle};
use crate::real_proxy::{Kind, RealProxy};
use anyhow::{Context, Result};
use bottle_guest::flow;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

const CONNECTIONS: &str = "64";
/// The MiB of a flow through a tunnel.
const MIB: u64 = 256;

struct Proxy {
    name: &'static str,
    enter: Vec<String>,
    port: u16,
    /// Held so that it lives.
    _real: Option<RealProxy>,
}

pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let upstream = serve()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let bulk = listener.local_addr()?.port();
    flow::serve(listener);
    let script = dir.path().join("absolute.lua");
    fs::write(
        &script,
        format!(
            "request = function() return wrk.format(\"GET\", \"http://upstream.test:{upstream}/\") end\n"
        ),
    )?;
    let bottle = Environment::new(checkout, Guest::Namespace)?.small_project(
        "proxies",
        &format!(
            "[egress]\nallow = [\"upstream.test:{upstream}\", \"upstream.test:{bulk}\"]\nhosts = {{ \"upstream.test\" = \"127.0.0.1\" }}\n"
        ),
    )?;
    let bottle = bottle.up()?;
    let mut proxies = vec![own(&bottle)?];
    for kind in [Kind::Tinyproxy, Kind::Squid] {
        match real(kind) {
            Ok(proxy) => proxies.push(proxy),
            Err(error) => report.skip("a proxy", &format!("{error:#}")),
        }
    }
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); proxies.len()];
    let mut direct: Vec<[f64; 2]> = Vec::new();
    let mut rates: Vec<Vec<[f64; 2]>> = vec![Vec::new(); proxies.len()];
    let harness = checkout.program("bottle-harness")?;
    for _ in 0..rounds {
        for (proxy, figures) in proxies.iter().zip(&mut figures) {
            figures.extend(proxy.ask(&script, upstream));
        }
        for (proxy, rates) in proxies.iter().zip(&mut rates) {
            rates.extend(proxy.flows(&harness, bulk));
        }
        let target = format!("127.0.0.1:{bulk}");
        direct.extend(flow_rates(&[
            harness.to_str().context("a path")?,
            "flow-through",
            &target,
            "--mib",
            &MIB.to_string(),
        ]));
    }
    let all: Vec<Figures> = proxies
        .iter()
        .zip(figures)
        .enumerate()
        .map(|(at, (proxy, values))| Figures { system: proxy.name, values, goal: (at > 0).then_some(2.0) })
        .collect();
    report.add("requests through the proxy", "/s", Better::Higher, &all);
    for (at, what) in
        [(0, "to a host through the proxy's tunnel"), (1, "from a host through the proxy's tunnel")]
    {
        let mut all: Vec<Figures> = proxies
            .iter()
            .zip(&rates)
            .enumerate()
            .map(|(n, (proxy, rates))| {
                let values = rates.iter().map(|both| both[at]).collect();
                Figures { system: proxy.name, values, goal: (n > 0).then_some(2.0) }
            })
            .collect();
        let values = direct.iter().map(|both| both[at]).collect();
        all.push(Figures { system: "no proxy", values, goal: None });
        report.add(what, "MB/s", Better::Higher, &all);
    }
    Ok(())
}

impl Proxy {
    fn ask(&self, script: &Path, upstream: u16) -> Option<f64> {
        let mut words = self.enter.clone();
        words.extend(["wrk", "-t1", "-c", CONNECTIONS, "-d2", "-s"].map(str::to_owned));
        words.push(script.to_str()?.to_owned());
        words.push(format!("http://127.0.0.1:{}/", self.port));
        let output = Command::new(&words[0]).args(&words[1..]).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // A proxy that refuses is fast, and does not count.
        if said.contains("Non-2xx") || upstream == 0 {
            return None;
        }
        said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse().ok())
    }

    /// Measures the MB/s of a tunnel to this port, in each direction.
    fn flows(&self, harness: &Path, port: u16) -> Option<[f64; 2]> {
        let (proxy, target) = (format!("127.0.0.1:{}", self.port), format!("upstream.test:{port}"));
        let mut words: Vec<&str> = self.enter.iter().map(String::as_str).collect();
        let mib = MIB.to_string();
        words.extend([
            "timeout",
            "20",
            harness.to_str()?,
            "flow-through",
            "--proxy",
            &proxy,
            &target,
            "--mib",
            &mib,
        ]);
        flow_rates(&words)
    }
}

/// Runs a client that prints the MB/s of each direction.
fn flow_rates(words: &[&str]) -> Option<[f64; 2]> {
    let output = Command::new(words[0]).args(&words[1..]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rates = said.lines().filter_map(|line| flow::rate(MIB, line.as_bytes()));
    Some([rates.next()?, rates.next()?])
}

fn own(bottle: &RunningBottle) -> Result<Proxy> {
    let port = bottle.plan()?.doors.pipelock();
    // Enter the jail, which is gvproxy's namespace.
    let jail = bottle.environment().path("state/proxies/jail");
    let pid = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim() == "gvproxy" && mounts.contains(jail.to_str().unwrap_or("-"))
        })
        .context("gvproxy of this bottle")?;
    let enter = ["nsenter", "-t", &pid.to_string(), "-n"].map(str::to_owned).to_vec();
    Ok(Proxy { name: "bottle", enter, port, _real: None })
}

fn real(kind: Kind) -> Result<Proxy> {
    let proxy = RealProxy::start(kind, &[("upstream.test", Ipv4Addr::LOCALHOST)], None)?;
    Ok(Proxy { name: proxy.name(), enter: vec!["env".to_owned()], port: proxy.port(), _real: Some(proxy) })
}

/// Runs the upstream: a server of small responses, with one thread per connection.
fn serve() -> Result<u16> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || -> std::io::Result<()> {
                stream.set_nodelay(true)?;
                let (mut lines, mut out) = (BufReader::new(stream.try_clone()?), stream);
                let mut line = String::new();
                while lines.read_line(&mut line)? > 0 {
                    if line == "\r\n" {
                        out.write_all(ANSWER)?;
                    }
                    line.clear();
                }
                Ok(())
            });
        }
    });
    Ok(port)
}
