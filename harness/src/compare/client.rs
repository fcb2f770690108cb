//! The programs that run inside the namespaces.

use anyhow::Result;
use bottle_core::subnet::Subnet;
use bottle_guest::link::endpoint::GuestEndpoint;
use bottle_guest::link::pump;
use bottle_guest::link::tap::Checksums;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
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
