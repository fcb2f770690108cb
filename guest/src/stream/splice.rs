//! Moves bytes from one socket to another without a copy in this process.

use super::socket::{Left, Socket};
use bottle_core::stream::MAX_CHUNK;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether this system can splice from the sockets used here.
static SPLICES: AtomicBool = AtomicBool::new(true);

/// The size that Linux gives a pipe by default, in bytes. Where a user's pipes have more pages than
/// `fs.pipe-user-pages-soft` says, because one pasta has taken them all, a new pipe has only two: copying is twice as
/// fast.
pub const USUAL: usize = 64 << 10;

/// A pipe for splicing. A user has few pages for pipes, so only bulk transfers use one.
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    size: usize,
}

impl Pipe {
    /// Creates an empty pipe. Returns `None` if bytes have to be copied, because there are no more pipes, or
    /// because a socket used here cannot be spliced from.
    pub fn new() -> Option<Self> {
        if !SPLICES.load(Relaxed) {
            return None;
        }
        let (out, into, size) = pipe(MAX_CHUNK)?;
        Some(Self { out, into, size })
    }

    /// Fills the empty pipe with at most `len` bytes from a socket. Zero means the socket's end. Returns
    /// `None` if such a socket cannot be spliced from, like a vsock before Linux 6.5.
    pub async fn fill(&self, from: &Socket, len: usize) -> io::Result<Option<usize>> {
        match from.when_readable(|socket| Ok((self.fill_from(socket, len)?, Left::Perhaps))).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                SPLICES.store(false, Relaxed);
                Ok(None)
            }
            filled => filled.map(Some),
        }
    }

    /// Moves `len` bytes from the pipe to a socket.
    pub async fn empty(&self, to: &Socket, len: usize) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            left -= to.when_writable(|socket| self.empty_into(socket, left)).await?;
        }
        Ok(())
    }

    /// Fills the empty pipe with at most `len` bytes that a socket has now. Zero means the socket's end.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::WouldBlock`] if it has none, or another error if it broke off.
    pub fn fill_from(&self, socket: impl AsFd, len: usize) -> io::Result<usize> {
        Ok(splice(socket, None, &self.into, None, len.min(self.size), flags())?)
    }

    /// Moves at most `len` of the pipe's bytes to a socket.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::WouldBlock`] if it takes none now, or another error if it broke off.
    pub fn empty_into(&self, socket: impl AsFd, len: usize) -> io::Result<usize> {
        Ok(splice(&self.out, None, socket, None, len, flags())?)
    }
}

/// Creates a pipe of this size, or of the usual one, and returns its ends and its size. Returns `None` if there are no
/// more, or only small ones.
pub fn pipe(size: usize) -> Option<(OwnedFd, OwnedFd, usize)> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    let size = fcntl_setpipe_size(&into, size).or_else(|_| fcntl_getpipe_size(&into)).ok()?;
    (size >= USUAL).then_some((out, into, size))
}

fn flags() -> SpliceFlags {
    SpliceFlags::NONBLOCK | SpliceFlags::MOVE
}
