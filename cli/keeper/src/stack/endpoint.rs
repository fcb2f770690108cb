//! The stack's end of the link. It sends and receives whole frames.

use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// gvproxy's socket. Each packet is one frame.
#[derive(Debug)]
pub struct Endpoint(OwnedFd);

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Endpoint {
    /// Takes over a connection to gvproxy, which may have been made in another process.
    pub fn of(link: OwnedFd) -> Self {
        Self(link)
    }

    /// Sends a frame to the stack.
    ///
    /// # Errors
    /// Returns an error if the stack cannot take the frame now, or has ended. The frame is lost, as on any
    /// network.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // Rust programs ignore SIGPIPE.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, frame, SendFlags::empty()))?;
        Ok(())
    }

    /// Receives a frame from the stack, if one is ready. A frame longer than the buffer is cut off. A length
    /// of zero means that the stack has ended.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::WouldBlock`] if no frame is ready, and other errors if there will be no more.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let receive = || rustix::net::recv(&self.0, &mut *buffer, RecvFlags::DONTWAIT);
        Ok(rustix::io::retry_on_intr(receive)?.0)
    }

    /// Waits until there is a frame, or the stack has ended.
    ///
    /// # Errors
    /// Returns an error if waiting fails.
    pub fn wait(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(self, PollFlags::IN)], None))?;
        Ok(())
    }

    /// Closes the endpoint, and wakes whoever waits for a frame.
    pub fn close(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}
