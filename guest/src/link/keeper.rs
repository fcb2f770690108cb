//! The helper's connections to the keeper.

use bottle_core::stream::Opening;
use bottle_core::wire;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The pauses between attempts to reach a keeper. They grow, and the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
];
/// How long a keeper may take to greet. Under emulation, the way through smolvm is slow.
const GREETING: Duration = Duration::from_secs(2);
/// How long the host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// The host's number on vsock (`VMADDR_CID_HOST`).
const HOST: u32 = 2;

/// How the keeper's socket is reached.
#[derive(Clone, Debug)]
pub struct Way {
    socket: PathBuf,
    /// The vsock port from which smolvm mounts the socket. Its agent would relay each byte through one more
    /// process.
    port: Option<u32>,
}

impl Way {
    /// Finds the way to a mounted socket.
    pub fn to(socket: PathBuf) -> Self {
        let said = std::fs::read("/proc/cmdline").unwrap_or_default();
        let port = published_port(&String::from_utf8_lossy(&said), &socket);
        // If vsock does not work now, it is not tried again for each connection.
        let port = port.filter(|&port| vsock(port).is_ok());
        Self { socket, port }
    }

    /// Waits, for as long as it takes, for a keeper that greets on a connection with this opening.
    pub fn wait_for(&self, opening: Option<Opening>) -> UnixStream {
        let mut pauses = PAUSES.into_iter();
        loop {
            if let Ok(stream) = self.connect().and_then(|stream| greeted(stream, opening)) {
                return stream;
            }
            thread::sleep(pauses.next().unwrap_or(PAUSES[PAUSES.len() - 1]));
        }
    }

    /// Connects. A connection does not prove that there is a keeper: smolvm accepts it either way.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn connect(&self) -> io::Result<UnixStream> {
        match self.port {
            Some(port) => vsock(port),
            None => UnixStream::connect(&self.socket),
        }
    }
}

/// Waits until a keeper greets on a connection.
fn greeted(stream: UnixStream, opening: Option<Opening>) -> io::Result<UnixStream> {
    if let Some(opening) = opening {
        (&stream).write_all(&opening.to_bytes())?;
    }
    stream.set_read_timeout(Some(GREETING))?;
    let mut hello = [0; wire::HELLO.len()];
    (&stream).read_exact(&mut hello)?;
    if hello != wire::HELLO {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.set_read_timeout(None)?;
    // A smaller buffer works, too.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, wire::IN_FLIGHT);
    Ok(stream)
}

/// Connects to a port of the host. Everything that reads and writes this stream works on any stream socket.
fn vsock(port: u32) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.connect_timeout(&SockAddr::vsock(HOST, port), CONNECT)?;
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

/// Returns the vsock port of a mounted socket, from the kernel's command line. smolvm 1.32.2 puts
/// `"SMOLVM_PUBLISH_SOCKETS=6100|mount|/run/bottle.sock"` there.
fn published_port(command_line: &str, socket: &Path) -> Option<u32> {
    let after = command_line.split("SMOLVM_PUBLISH_SOCKETS=").nth(1)?;
    let value = after.split(['"', ' ']).next()?;
    let fields: Vec<&str> = value.split(['|', ',', ';']).collect();
    fields.windows(3).find_map(|fields| match fields {
        [port, "mount", path] if Path::new(path) == socket => port.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_mounted_socket() {
        let line = "quiet  KRUN_WORKDIR=/   \"HOME=/root\" \"SMOLVM_PUBLISH_SOCKETS=6100|mount|/run/bottle.sock\" \
                    \"SMOLVM_ATTACH=1\" maxcpus=4  -- \"/sbin/init\"";
        let bottle = Path::new("/run/bottle.sock");
        assert_eq!(published_port(line, bottle), Some(6100));
        assert_eq!(published_port(line, Path::new("/run/other.sock")), None);
        for others in [
            "6100|mount|/run/a.sock,6101|mount|/run/bottle.sock",
            "6100|mount|/x;6101|mount|/run/bottle.sock",
        ] {
            assert_eq!(published_port(&format!("SMOLVM_PUBLISH_SOCKETS={others} quiet"), bottle), Some(6101));
        }
        for nothing in
            ["", "quiet", "SMOLVM_PUBLISH_SOCKETS=", "SMOLVM_PUBLISH_SOCKETS=x|mount|/run/bottle.sock"]
        {
            assert_eq!(published_port(nothing, bottle), None, "{nothing}");
        }
        assert_eq!(published_port("SMOLVM_PUBLISH_SOCKETS=6100|expose|/run/bottle.sock", bottle), None);
    }
}
