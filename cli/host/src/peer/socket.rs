//! Whoever is at the other end of a socket, as the kernel says.

use super::process::Process;
use rustix::fs::Uid;
use std::os::unix::net::UnixStream;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
use linux::peer;
#[cfg(any(not(target_os = "linux"), bottle_portable))]
use portable::peer;

/// Whoever made a connection.
#[derive(Debug)]
pub struct Peer {
    /// The process that called `connect`; `None` where it has ended, or is out of sight.
    pub process: Option<Process>,
    /// Its number then, for the log.
    pub pid: i32,
    /// Its user then.
    pub uid: Uid,
}

impl Peer {
    /// Whoever made a connection; `None` where the kernel does not say.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        peer(stream)
    }
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod linux {
    use super::{Peer, Process};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::Uid;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::io;
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// The process is the one that called `connect`, and it lives: the kernel holds it by a
    /// descriptor, before Linux 6.5 from here on, since then from `connect` on.
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
            // SAFETY: the kernel has just made this descriptor for whoever asked, and nobody else has it.
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

    /// An option that rustix does not know, or takes for what it is not: there a peer of another
    /// process namespace, whose number is 0, is a process.
    fn option<T: Plain>(stream: &UnixStream, name: libc::c_int) -> io::Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        // SAFETY: the kernel writes `len` bytes at most, which is the value's size, and every pattern
        // of bits is a value of a `Plain` type.
        #[expect(unsafe_code, reason = "a socket's option is written by the kernel into memory")]
        unsafe {
            let value_at = value.as_mut_ptr().cast();
            if libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, name, value_at, &raw mut len) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(value.assume_init())
        }
    }

    /// Types of which every pattern of bits is a value.
    trait Plain {}
    impl Plain for libc::ucred {}
    impl Plain for libc::c_int {}
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
mod portable {
    use super::{Peer, Process};
    use std::os::unix::net::UnixStream;

    /// The socket is its owner's alone, so nobody else gets there.
    pub fn peer(_: &UnixStream) -> Option<Peer> {
        let pid = std::process::id().cast_signed();
        Some(Peer { process: Process::of(pid), pid, uid: rustix::process::geteuid() })
    }
}
