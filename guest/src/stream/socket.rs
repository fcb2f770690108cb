//! A stream socket of any family: TCP, Unix or vsock.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown};
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected stream socket that never blocks.
#[derive(Debug)]
pub struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Wraps a connected socket. It must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if the runtime cannot watch the socket.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        Self::registered(socket)
    }

    /// Wraps a socket that does not block.
    fn registered(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is one descriptor all its life, and this value keeps it open while it is
        // registered.
        #[expect(unsafe_code, reason = "tokio cannot see that a descriptor stays the same")]
        let registered = unsafe { AsyncFd::register(socket) };
        Ok(Self(registered?))
    }

    /// Connects to a TCP address.
    ///
    /// # Errors
    /// Returns the system's error, such as a refusal.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = new_stream(family)?;
        match rustix::net::connect(&socket, &address) {
            Err(Errno::INPROGRESS) => {}
            connected => return Ok(connected.map(|()| socket)?),
        }
        // To this machine it is connected by now.
        if rustix::net::getpeername(&socket).is_err() {
            let _ = socket.0.writable().await?;
            rustix::net::sockopt::socket_error(&socket)??;
        }
        Ok(socket)
    }

    /// Returns the descriptor, which still does not block.
    pub fn into_inner(self) -> OwnedFd {
        self.0.into_inner()
    }

    /// Returns the descriptor, in blocking mode again.
    ///
    /// # Errors
    /// Returns an error if the system refuses to do so.
    pub fn into_blocking(self) -> io::Result<OwnedFd> {
        let socket = self.into_inner();
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(socket)
    }

    /// Reads into `buffer` as soon as there is something to read. Zero means the end.
    ///
    /// # Errors
    /// Returns the socket's error, such as a reset.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len();
        self.when_readable(|socket| {
            let read = rustix::io::read(socket, &mut *buffer)?;
            Ok((read, Left::after(read, most)))
        })
        .await
    }

    /// Reads exactly as many bytes as fit into `buffer`.
    ///
    /// # Errors
    /// Returns an error as for [`Socket::read`], and [`io::ErrorKind::UnexpectedEof`] if the stream ends too
    /// early.
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut read = 0;
        while read < buffer.len() {
            match self.read(&mut buffer[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Returns the socket's error, such as a reset.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.when_writable(|socket| try_write(socket, &[IoSlice::new(bytes)])).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Repeats a reading call until it would no longer block. One task reads from a socket at a time.
    pub(super) async fn when_readable<T>(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<(T, Left)>,
    ) -> io::Result<T> {
        poll_fn(|context| self.poll_when_readable(context, &mut call)).await
    }

    /// Makes a reading call once it does not block. A call that left nothing is not followed by one that the system would
    /// only refuse: each costs a short stream as much as a read that brings something.
    ///
    /// Unlike `AsyncFd::readable`, polling counts against the task's budget: whoever always has something to be read cannot
    /// keep other tasks from their turn.
    fn poll_when_readable<T>(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<(T, Left)>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            match retry(|| call(self.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Ok((done, left)) => {
                    // An end that came meanwhile stays, and what comes from now on is reported again.
                    if left == Left::Nothing {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(done));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Repeats a writing call until it would no longer block.
    pub(super) async fn when_writable<T>(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.async_io(Interest::WRITABLE, |socket| retry(|| call(socket.as_fd()))).await
    }

    /// Reads into several buffers, one after the other, once there is something to read.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = buffers.iter().map(|buffer| buffer.len()).sum();
        self.poll_when_readable(context, |socket| {
            let read = rustix::io::readv(socket, buffers)?;
            Ok((read, Left::after(read, most)))
        })
    }

    /// Writes from several buffers, once there is room.
    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            let written = guard.try_io(|socket| retry(|| try_write(socket.get_ref().as_fd(), buffers)));
            if let Ok(written) = written {
                return Poll::Ready(written);
            }
        }
    }

    /// Returns up to `buffer.len()` unread bytes without consuming them. Returns `None` if there are none and
    /// the other side may still send some.
    pub fn peek(&self, buffer: &mut [u8]) -> Option<usize> {
        match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((read, _)) => Some(read),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(0),
        }
    }

    /// Waits until the other side has finished sending. Bytes that it sent earlier may still be unread.
    #[cfg(target_os = "linux")]
    pub async fn read_closed(&self) {
        /// Urgent data also makes the socket ready. Nobody sends any, but it must not keep this loop busy.
        const PAUSE: Duration = Duration::from_millis(250);
        // Unlike `READABLE`, this is not ready merely because there is something to read.
        while let Ok(mut guard) = self.0.ready(Interest::PRIORITY).await {
            if guard.ready().is_read_closed() {
                return;
            }
            guard.clear_ready();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits forever, because this system does not report a closed side.
    #[cfg(not(target_os = "linux"))]
    pub async fn read_closed(&self) {
        std::future::pending::<()>().await;
    }

    /// Closes the sending side. The other side reads the end after everything that was sent before.
    pub fn shut(&self) {
        // This fails only if the other side is gone, which reading shows.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    /// Waits a while for the other side to close, and drops what arrives until then. Whoever closes a stream
    /// first could take the last bytes along: see [`bottle_core::stream`].
    pub async fn drain(&self) {
        const LIMIT: Duration = Duration::from_secs(10);
        let drained = async {
            let mut buffer = [0; 256];
            while matches!(self.read(&mut buffer).await, Ok(1..)) {}
        };
        let _ = tokio::time::timeout(LIMIT, drained).await;
    }

    /// Sets whether closing a TCP socket resets it. The other side then sees that it was broken off, not that
    /// it ended.
    pub fn reset_on_close(&self, reset: bool) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, reset.then_some(Duration::ZERO));
    }
}

/// What a reading call left in a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing, so the next call would block.
    Nothing,
    /// Perhaps something.
    Perhaps,
}

impl Left {
    /// Returns what a call left that read this many bytes and had room for `most`. The end itself is no bytes.
    pub(super) fn after(read: usize, most: usize) -> Self {
        if (1..most).contains(&read) { Self::Nothing } else { Self::Perhaps }
    }
}

/// A TCP socket that accepts connections.
#[derive(Debug)]
pub struct Listener(Socket);

impl Listener {
    /// Wraps a listening socket. It must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if the runtime cannot watch the socket.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(Socket::new(listener)?))
    }

    /// Accepts the next connection.
    ///
    /// # Errors
    /// Returns the system's error, such as too many open descriptors.
    pub async fn accept(&self) -> io::Result<Socket> {
        self.0.when_readable(|listener| Ok((accept(listener)?, Left::Perhaps))).await
    }
}

#[cfg(target_os = "linux")]
use linux::{accept, new_stream};
#[cfg(not(target_os = "linux"))]
use portable::{accept, new_stream};

/// Linux makes a socket that does not block with one call.
#[cfg(target_os = "linux")]
mod linux {
    use super::Socket;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with};
    use std::io;
    use std::os::fd::BorrowedFd;

    const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

    pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Socket> {
        Socket::registered(accept_with(listener, FLAGS)?)
    }

    pub fn new_stream(family: AddressFamily) -> io::Result<Socket> {
        Socket::registered(socket_with(family, SocketType::STREAM, FLAGS, None)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use super::Socket;
    use rustix::net::{AddressFamily, SocketType};
    use std::io;
    use std::os::fd::BorrowedFd;

    pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Socket> {
        Socket::new(rustix::net::accept(listener)?)
    }

    pub fn new_stream(family: AddressFamily) -> io::Result<Socket> {
        Socket::new(rustix::net::socket(family, SocketType::STREAM, None)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes once. A peer that is gone causes an error, not a signal.
pub(super) fn try_write(socket: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    const QUIET: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    const QUIET: SendFlags = SendFlags::empty();
    let mut control = rustix::net::SendAncillaryBuffer::default();
    Ok(rustix::net::sendmsg(socket, buffers, &mut control, QUIET)?)
}

pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
