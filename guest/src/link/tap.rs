//! The tap device.

use bottle_core::offload::{self, Outgoing};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{IntegerSetter, Opcode, Updater, opcode};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A tap. What the kernel sends through the interface is read here, and what is written here is received by
/// the kernel.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    checksums: Checksums,
}

/// Who computes the checksums of TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// Nobody, because the link is memory: see [`bottle_core::offload`].
    LeftOut,
    /// The sender, as on a wire.
    Sent,
}

const DEVICE: &str = "/dev/net/tun";
/// `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`: Ethernet frames, each after a header that only says who computes its
/// checksum (`linux/if_tun.h`).
const FLAGS: libc::c_short = 0x0002 | 0x1000 | 0x4000;
/// `TUN_F_CSUM`: segments without a complete checksum are accepted. No other offload is on.
const OPEN_CHECKSUMS: usize = 1;

/// `TUNSETIFF`, `_IOW('T', 202, int)`.
const SET_INTERFACE: Opcode = opcode::write::<libc::c_int>(b'T', 202);
/// `TUNSETOFFLOAD`, `_IOW('T', 208, unsigned int)`.
const SET_OFFLOAD: Opcode = opcode::write::<libc::c_uint>(b'T', 208);

impl Tap {
    /// Creates a tap with this name. It disappears with its last descriptor.
    pub fn create(name: &str, checksums: Checksums) -> io::Result<Self> {
        let fd = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
        // SAFETY: `ifreq` is a plain C structure for which all zeroes is a valid value.
        #[expect(unsafe_code, reason = "an empty C structure has no other constructor")]
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = FLAGS;
        // SAFETY: TUNSETIFF takes an `ifreq`, which it writes the final name into.
        #[expect(unsafe_code, reason = "no safe interface to TUNSETIFF exists")]
        unsafe {
            rustix::ioctl::ioctl(&fd, Updater::<SET_INTERFACE, _>::new(&mut request))?;
        }
        if checksums == Checksums::LeftOut {
            // SAFETY: TUNSETOFFLOAD takes a number, and this is one of its flags.
            #[expect(unsafe_code, reason = "no safe interface to TUNSETOFFLOAD exists")]
            unsafe {
                rustix::ioctl::ioctl(&fd, IntegerSetter::<SET_OFFLOAD>::new_usize(OPEN_CHECKSUMS))?;
            }
        }
        Ok(Self { fd, checksums })
    }

    /// Reads a frame that the kernel sends, if one is ready.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut header = [0; offload::HEADER_LEN];
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::readv(&self.fd, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(&mut *buffer)])
        })?;
        Ok(read.saturating_sub(offload::HEADER_LEN))
    }

    /// Passes a frame to the kernel.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let outgoing = match self.checksums {
            Checksums::LeftOut => Outgoing::new(frame),
            Checksums::Sent => Outgoing::whole(frame),
        };
        rustix::io::retry_on_intr(|| rustix::io::writev(&self.fd, &outgoing.parts().map(IoSlice::new)))?;
        Ok(())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
