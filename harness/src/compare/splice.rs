//! The physical ceiling: two relays that only splice, one in the namespace and one on the host, with a Unix socket
//! between them. Nothing is decided, counted or framed.

use anyhow::{Context, Result};
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

/// The size of a pipe, in bytes: the most that a user may have without asking.
const PIPE: usize = 1 << 20;

/// One end of a relay.
#[derive(Clone, Debug)]
pub enum Place {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Unix(text.into()), Self::Tcp))
    }
}

/// Runs `bottle-harness splice`: takes connections at one place, and splices each to another, for ever.
///
/// # Errors
/// Returns an error if the first place cannot be listened at.
pub fn splice_all(from: &Place, to: &Place) -> Result<ExitCode> {
    match from {
        Place::Tcp(address) => {
            for stream in TcpListener::bind(address)?.incoming().flatten() {
                stream.set_nodelay(true)?;
                begin(stream.into(), to.clone());
            }
        }
        Place::Unix(path) => {
            for stream in UnixListener::bind(path).context("the socket")?.incoming().flatten() {
                begin(stream.into(), to.clone());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(one: OwnedFd, to: Place) {
    thread::spawn(move || -> io::Result<()> {
        let other = connect(&to)?;
        let (one, other) = (Arc::new(one), Arc::new(other));
        let (from, into) = (Arc::clone(&other), Arc::clone(&one));
        thread::spawn(move || one_way(&from, &into));
        one_way(&one, &other)
    });
}

fn connect(to: &Place) -> io::Result<OwnedFd> {
    Ok(match to {
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.into()
        }
        Place::Unix(path) => UnixStream::connect(Path::new(path))?.into(),
    })
}

fn one_way(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
    let size = fcntl_setpipe_size(&into, PIPE).unwrap_or(1 << 16);
    let call = |from: &OwnedFd, to: &OwnedFd, len| {
        rustix::io::retry_on_intr(|| splice(from.as_fd(), None, to.as_fd(), None, len, SpliceFlags::MOVE))
    };
    loop {
        let mut left = call(from, &into, size)?;
        if left == 0 {
            return Ok(shutdown(to, Shutdown::Write)?);
        }
        while left > 0 {
            left -= call(&out, to, left)?;
        }
    }
}
