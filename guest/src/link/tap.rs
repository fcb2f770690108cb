//! The tap device.

use rustix::fs::{Mode, OFlags};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A tap: what the guest's kernel sends through its interface is read here, what is written here
/// it receives.
pub struct Tap(OwnedFd);

const DEVICE: &str = "/dev/net/tun";
/// `IFF_TAP | IFF_NO_PI`: Ethernet frames, with nothing before them (`linux/if_tun.h`).
const FLAGS: libc::c_short = 0x0002 | 0x1000;

impl Tap {
    /// Makes a tap with this name. It goes away with the value.
    pub fn create(name: &str) -> io::Result<Self> {
        let fd = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
        // SAFETY: `ifreq` is a plain C structure for which all zeroes is a valid value.
        #[expect(unsafe_code, reason = "a C structure is made empty")]
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = FLAGS;
        let request = SetInterface(&raw mut request);
        // SAFETY: TUNSETIFF reads an `ifreq` through the pointer, which outlives the call.
        #[expect(unsafe_code, reason = "no safe interface to TUNSETIFF exists")]
        unsafe {
            rustix::ioctl::ioctl(&fd, request)?;
        }
        Ok(Self(fd))
    }

    /// Takes a frame that the guest's kernel sends, if there is one now.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(self.0.as_fd(), &mut *buffer))?)
    }

    /// Hands the guest's kernel a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::io::write(self.0.as_fd(), frame))?;
        Ok(())
    }

    /// The descriptor, for waiting.
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

struct SetInterface(*mut libc::ifreq);

// SAFETY: TUNSETIFF takes a pointer to an `ifreq`, which it may also write the final name into.
#[expect(unsafe_code, reason = "rustix describes an ioctl with an unsafe trait")]
unsafe impl rustix::ioctl::Ioctl for SetInterface {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        // `linux/if_tun.h`: _IOW('T', 202, int)
        rustix::ioctl::opcode::write::<libc::c_int>(b'T', 202)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.cast()
    }

    unsafe fn output_from_ptr(_: rustix::ioctl::IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}
