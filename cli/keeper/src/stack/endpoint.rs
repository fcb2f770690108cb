//! The stack's end of the link: frames to it and from it, whole.

use bottle_core::stack::Stack;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
use bottle_guest::link::tap::Tap;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where the guard's frames go, and where those to the guest come from.
#[derive(Debug)]
pub enum Endpoint {
    /// gvproxy: one frame a packet of this socket.
    Gvproxy(OwnedFd),
    /// The kernel: a tap.
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
    /// The end that somebody else has made, for this stack.
    pub fn taken_over(link: OwnedFd, stack: Stack) -> Self {
        match stack {
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Stack::Kernel => Self::Kernel(Tap::taken_over(link)),
            _ => Self::Gvproxy(link),
        }
    }

    /// Hands the stack a frame.
    ///
    /// # Errors
    /// Where it cannot take it now, or is gone. The frame is lost, which is what a network does.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        match self {
            // Rust's programs ignore SIGPIPE.
            Self::Gvproxy(socket) => {
                rustix::io::retry_on_intr(|| rustix::net::send(socket, frame, SendFlags::empty()))?;
                Ok(())
            }
            #[cfg(all(target_os = "linux", not(bottle_portable)))]
            Self::Kernel(tap) => tap.send(frame),
        }
    }

    /// Takes a frame of the stack's, if there is one now. One that is longer than the buffer is cut
    /// off. A length of zero: the stack is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where there is none now; others where there will be no more.
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

    /// Waits until there is one, or the stack is gone.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn wait(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(self, PollFlags::IN)], None))?;
        Ok(())
    }

    /// Ends it: whoever waits for a frame is told. A tap has nobody to be told by, and stays.
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
