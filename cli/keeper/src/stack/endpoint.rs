//! The stack's end of the link. It sends and receives whole frames.

use bottle_core::stack::Stack;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
use bottle_guest::link::tap::Tap;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The stack's end of the link.
#[derive(Debug)]
pub enum Endpoint {
    /// gvproxy's socket. Each packet is one frame.
    Gvproxy(OwnedFd),
    /// The kernel's tap.
    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    Kernel(Tap),
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Gvproxy(socket) => socket.as_fd(),
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Self::Kernel(tap) => tap.as_fd(),
        }
    }
}

impl Endpoint {
    /// Takes over an end that another process created for this stack.
    pub fn taken_over(link: OwnedFd, stack: Stack) -> Self {
        match stack {
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Stack::Kernel => Self::Kernel(Tap::taken_over(link)),
            _ => Self::Gvproxy(link),
        }
    }

    /// Sends a frame to the stack.
    ///
    /// # Errors
    /// Returns an error if the stack cannot take the frame now, or has ended. The frame is lost, as on any
    /// network.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        match self {
            // Rust programs ignore SIGPIPE.
            Self::Gvproxy(socket) => {
                rustix::io::retry_on_intr(|| rustix::net::send(socket, frame, SendFlags::empty()))?;
                Ok(())
            }
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Self::Kernel(tap) => tap.send(frame),
        }
    }

    /// Receives a frame from the stack, if one is ready. A frame longer than the buffer is cut off. A length
    /// of zero means that the stack has ended.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::WouldBlock`] if no frame is ready, and other errors if there will be no more.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gvproxy(socket) => {
                let receive = || rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT);
                Ok(rustix::io::retry_on_intr(receive)?.0)
            }
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Self::Kernel(tap) => tap.receive(buffer),
        }
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

    /// Closes the endpoint, and wakes whoever waits for a frame. A tap has no way to do that, and stays open.
    pub fn close(&self) {
        match self {
            Self::Gvproxy(socket) => {
                let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
            }
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Self::Kernel(_) => {}
        }
    }
}
