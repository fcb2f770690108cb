//! Waits for a process to start.

use anyhow::{Result, bail};
use bottle_core::wire;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(20);

/// Connects to a gvproxy that is starting. Each packet of the socket is one frame.
pub fn connect(path: &Path, child: &mut Child) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, wire::IN_FLIGHT)?;
    wait_until(child, || match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(())),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    Ok(socket)
}

/// Asks repeatedly, until there is an answer, the process has ended or the time is up.
pub fn wait_until<T>(child: &mut Child, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + START;
    loop {
        // Check this first: an answer that came before the end counts.
        let ended = child.try_wait()?;
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if let Some(status) = ended {
            bail!("it ended with {status}");
        }
        if Instant::now() > end {
            bail!("it was not ready after {} s", START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
