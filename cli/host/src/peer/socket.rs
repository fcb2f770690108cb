//! Who is at the other end of a socket, according to the kernel.

use super::process::Process;
use rustix::fs::Uid;
use std::os::unix::net::UnixStream;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
use linux::peer;
#[cfg(any(not(target_os = "linux"), bottle_portable))]
use portable::peer;

/// The process that made a connection.
#[derive(Debug)]
pub struct Peer {
    /// The process that called `connect`, or `None` if it has ended or cannot be seen.
    pub process: Option<Process>,
    /// The number of that process at that time, for the log.
    pub pid: i32,
    /// The user of that process at that time.
    pub uid: Uid,
}

impl Peer {
    /// Returns who made a connection, or `None` if the kernel does not say.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        peer(stream)
    }
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod linux {
    use crate::peer::process::Process;
    use crate::peer::socket::Peer;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::Uid;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::io;
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// Returns the process that called `connect`, if it is alive. A descriptor keeps hold of it: from
    /// `connect` on since Linux 6.5, and from here on in older versions.
    pub fn peer(stream: &UnixStream) -> Option<Peer> {
        let said: libc::ucred = option(stream, libc::SO_PEERCRED).ok()?;
        let process = || {
            let held = held(stream, said.pid)?;
            let process = Process::of(said.pid)?;
            lives(&held).then_some(process)
        };
        Some(Peer { process: process(), pid: said.pid, uid: Uid::from_raw(said.uid) })
    }

    fn held(stream: &UnixStream, pid: i32) -> Option<OwnedFd> {
        match option::<libc::c_int>(stream, libc::SO_PEERPIDFD) {
            // SAFETY: the kernel has just created this descriptor for us, and nobody else has it.
            #[expect(unsafe_code, reason = "a descriptor in a socket's option has no owner yet")]
            Ok(fd) if fd >= 0 => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
            }
            _ => None,
        }
    }

    fn lives(held: &OwnedFd) -> bool {
        let mut asked = [PollFd::new(held, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())) == Ok(0)
    }

    /// Reads a socket option that rustix does not know, or reads wrongly: a peer in another process namespace
    /// has the number 0, which rustix takes for a process.
    fn option<T: Plain>(stream: &UnixStream, name: libc::c_int) -> io::Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `len` bytes, which is the size of the value, and every bit
        // pattern is valid for a `Plain` type.
        #[expect(unsafe_code, reason = "a socket's option is written by the kernel into memory")]
        unsafe {
            let value_at = value.as_mut_ptr().cast();
            if libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, name, value_at, &raw mut len) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(value.assume_init())
        }
    }

    /// Types for which every bit pattern is a valid value.
    trait Plain {}
    impl Plain for libc::ucred {}
    impl Plain for libc::c_int {}
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
mod portable {
    use crate::peer::process::Process;
    use crate::peer::socket::Peer;
    use std::os::unix::net::UnixStream;

    /// Returns this process: only the socket's owner can reach it.
    pub fn peer(_: &UnixStream) -> Option<Peer> {
        let pid = std::process::id().cast_signed();
        Some(Peer { process: Process::of(pid), pid, uid: rustix::process::geteuid() })
    }
}
