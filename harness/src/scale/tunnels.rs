//! More and more idle tunnels through the egress proxy.

use super::series::Series;
use crate::checkout::Checkout;
use crate::compare::{self, measure};
use crate::environment::{Environment, Guest, RunningBottle};
use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// The name of the host that tunnels lead to.
const HOST: &str = "held.test";
/// How many descriptors a process needs that ten thousand tunnels lead through.
const DESCRIPTORS: u64 = 32_000;

/// Measures the keeper with this many idle tunnels.
pub fn measure(checkout: &Checkout, sizes: &[usize]) -> Result<Vec<Series>> {
    const OF: &str = "tunnels";
    let mut series = [
        Series::new("opening one more tunnel", "us", OF),
        Series::new("private memory of a keeper with idle tunnels", "MiB", OF),
        Series::new("private memory of a keeper, each tunnel", "KiB", OF),
    ];
    let limit = raise_descriptors();
    // The keeper has two for each tunnel, and some of its own.
    let most = usize::try_from(limit.saturating_sub(200) / 2)?;
    for wanted in sizes {
        let size = &most.min(*wanted);
        if size < wanted {
            println!("{size} tunnels, not {wanted}: this machine allows a process {limit} descriptors");
        }
        let host = Held::listen()?;
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let stack = "[network]\nstack = \"sockets\"\n";
        let limits = "[egress.limits]\nconnections = 20000\n";
        let config = host.allowed("", checkout)? + stack + limits;
        let bottle = environment.small_project("tunnels", &config)?.up()?;
        // The first tunnel makes the keeper allocate what it needs once.
        drop(opened(&bottle, &host, 1)?);
        let pid = bottle.status()?.pid.into();
        let before = measure::private(pid)?;
        let (each, open) = opened(&bottle, &host, *size)?;
        let after = measure::private(pid)?;
        drop(open);
        #[expect(clippy::cast_precision_loss, reason = "there are at most ten thousand")]
        let share = (after - before) * 1024.0 / *size as f64;
        for (series, figure) in series.iter_mut().zip([each, after, share]) {
            series.at(*size, figure);
        }
    }
    Ok(series.to_vec())
}

/// Raises this process's limit on descriptors, which its children inherit, and returns it.
fn raise_descriptors() -> u64 {
    let known = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let wanted = known.max(DESCRIPTORS);
    // Only root may allow more than this machine does, and not everywhere.
    for limit in [wanted, known] {
        if setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) }).is_ok() {
            return limit;
        }
    }
    known
}

/// A host that accepts connections and keeps them.
pub struct Held {
    port: u16,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Held {
    /// Listens on a port of the loopback interface.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let held = Self { port: listener.local_addr()?.port(), connections: Arc::default() };
        let connections = Arc::clone(&held.connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
            }
        });
        Ok(held)
    }

    /// Returns a configuration that allows this host after those in `before`, and has the harness in the guest.
    pub fn allowed(&self, before: &str, checkout: &Checkout) -> Result<String> {
        Ok(format!(
            "[[guest.volumes]]\nhost = \"{}\"\nguest = \"/harness\"\n\
             [egress]\nallow = [{before}\"{HOST}:{}\"]\nhosts = {{ \"{HOST}\" = \"127.0.0.1\" }}\n",
            checkout.program("bottle-harness")?.parent().context("a folder")?.display(),
            self.port
        ))
    }
}

/// Tunnels that are open. They end with the value.
pub struct Open(Child);

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Opens tunnels from the guest, one after the other. Returns the median of the microseconds that each took.
pub fn opened(bottle: &RunningBottle, host: &Held, count: usize) -> Result<(f64, Open)> {
    let door = bottle.plan()?.doors.pipelock();
    let (proxy, target) = (format!("proxy.internal:{door}"), format!("{HOST}:{}", host.port));
    let program = "/harness/bottle-harness";
    let count = count.to_string();
    let words = ["--quiet", "exec", "-i", "--", program, "hold", &proxy, &target, "--count", &count];
    let mut child = bottle.command(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("its output")?;
    let open = Open(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok((line.trim().parse().context("the tunnels were not opened")?, open))
}

/// Runs `bottle-harness hold` in a guest: opens tunnels, prints the median of the microseconds that each took, and
/// holds them until its input ends.
///
/// # Errors
/// Returns an error if a tunnel is refused.
pub fn hold(proxy: &str, target: &str, count: usize) -> Result<ExitCode> {
    raise_descriptors();
    let mut open = Vec::new();
    let mut took = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        let stream = compare::tunnel(proxy, target)?;
        took.push(since.elapsed().as_micros());
        open.push(stream);
    }
    took.sort_unstable();
    println!("{}", took.get(took.len() / 2).copied().unwrap_or_default());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}
