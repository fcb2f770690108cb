//! The programs that run inside the namespaces.

use anyhow::{Context, Result, ensure};
use bottle_core::subnet::Subnet;
use bottle_guest::flow::{self, Direction};
use bottle_guest::link::endpoint::GuestEndpoint;
use bottle_guest::link::pump;
use bottle_guest::link::tap::Checksums;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Runs `bottle-harness forward`: a guest's end of stock gvproxy, like gvproxy's own forwarder.
///
/// # Errors
/// Returns an error if the tap cannot be made, or gvproxy cannot be reached.
pub fn forward(socket: &PathBuf, mtu: u16) -> Result<ExitCode> {
    let stream = UnixStream::connect(socket)?;
    // gvproxy's own forwarder does not omit checksums.
    let (tap, end) = GuestEndpoint::make(Subnet::FIXED, mtu, Checksums::Sent)?;
    end.up()?;
    pump::run(&Arc::new(tap), &stream);
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-harness ping-pong`, which prints the microseconds of each exchange, one per line.
///
/// # Errors
/// Returns an error if a connection fails.
pub fn ping_pong(address: SocketAddr, count: usize) -> Result<ExitCode> {
    for _ in 0..count {
        let since = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        println!("{}", since.elapsed().as_micros());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-harness connect-many`, which prints how many connections a second carried a byte there and back.
///
/// # Errors
/// Returns an error if a connection fails.
pub fn connect_many(address: SocketAddr, count: usize, at_once: usize) -> Result<ExitCode> {
    let since = Instant::now();
    thread::scope(|scope| {
        let exchange = || -> Result<()> {
            for _ in 0..count / at_once {
                let mut stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(exchange)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread")))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "there are some thousands")]
    let rate = count as f64 / since.elapsed().as_secs_f64();
    println!("{rate:.0}");
    Ok(ExitCode::SUCCESS)
}

/// Opens a tunnel through an HTTP proxy.
///
/// # Errors
/// Returns an error if the proxy refuses it, with its answer.
pub fn tunnel(proxy: &str, target: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
    // Nothing follows the answer before this end has sent something, so nothing else is read ahead.
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().context("the proxy closed the connection")??;
    ensure!(first.split(' ').nth(1) == Some("200"), "{first}");
    while !lines.next().context("the proxy closed the connection")??.is_empty() {}
    Ok(stream)
}

/// Runs `bottle-harness flow-through`: a flow in each direction through a tunnel, or without a proxy, which prints the
/// seconds of each.
///
/// # Errors
/// Returns an error if the proxy refuses the tunnel, or the flow breaks off.
pub fn flow_through(proxy: Option<&str>, target: &str, mib: u64) -> Result<ExitCode> {
    for direction in Direction::BOTH {
        let stream = match proxy {
            Some(proxy) => tunnel(proxy, target)?,
            None => TcpStream::connect(target)?,
        };
        let took = flow::over(stream, direction, mib)?;
        println!("{:.6}", took.as_secs_f64());
    }
    Ok(ExitCode::SUCCESS)
}
