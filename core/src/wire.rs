//! Frames on a byte stream, between the guest helper and the keeper. Each follows its length, which is
//! four bytes, big-endian.
//!
//! This is QEMU's `-netdev socket` framing, which gvproxy calls "qemu" (`pkg/tap/protocols.go` of
//! gvisor-tap-vsock).

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

/// The length of the header before each frame, in bytes.
pub const HEADER_LEN: usize = 4;

/// The greeting that the keeper sends first on each connection, before any frame.
///
/// In a real guest the mounted socket is smolvm's, which accepts a connection whether or not a keeper is
/// behind it. Only this greeting says that there is one.
pub const HELLO: [u8; 4] = *b"btl1";

/// The longest frame that either side accepts, in bytes: the [`MTU`] and an Ethernet header.
pub const MAX_FRAME: usize = MTU as usize + 14;

/// The link's MTU, in bytes. The link is virtual, so the MTU is ours to choose: compared to 1500 it made
/// gvproxy 4.4 times as fast (310 instead of 71 MB/s in one run).
pub const MTU: u16 = 65_000;

/// How many bytes each end of the link asks its kernel to buffer. The longest frame must fit, and with
/// room for a dozen the two ends wait for each other less (1.2 times as fast as with Linux's 208 KiB,
/// `docs/performance.md`). Linux gives at most `net.core.wmem_max`.
pub const IN_FLIGHT: usize = 1 << 20;

/// A length that no frame has. The rest of the stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub u32);

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(announced) = self;
        write!(f, "a frame of {announced} bytes was announced; frames have 1 to {MAX_FRAME}")
    }
}

impl core::error::Error for BadLength {}

/// Returns the header of a frame of `len` bytes, or `None` if no such frame can be sent.
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    match u32::try_from(len) {
        Ok(n) if len != 0 && len <= MAX_FRAME => Some(n.to_be_bytes()),
        _ => None,
    }
}

/// The first whole frame in a piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'b> {
    /// The frame, without its header.
    pub frame: &'b [u8],
    /// What follows it.
    pub rest: &'b [u8],
}

/// Splits the first whole frame off `bytes`. `Ok(None)` asks for more bytes.
///
/// It copies nothing and allocates nothing, whatever length the other side announces.
///
/// # Errors
/// Returns [`BadLength`] as soon as a header announces an impossible frame.
pub fn split_frame(bytes: &[u8]) -> Result<Option<Split<'_>>, BadLength> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*head);
    let len = usize::try_from(announced).map_err(|_| BadLength(announced))?;
    if len == 0 || len > MAX_FRAME {
        return Err(BadLength(announced));
    }
    Ok(rest.split_at_checked(len).map(|(frame, rest)| Split { frame, rest }))
}

/// A buffer in which frames wait until they are written together.
#[derive(Debug)]
pub struct Outbox {
    bytes: Box<[u8]>,
    end: usize,
}

impl Default for Outbox {
    /// Makes room for a few of the longest frames.
    fn default() -> Self {
        Self { bytes: vec![0; 4 * (HEADER_LEN + MAX_FRAME)].into_boxed_slice(), end: 0 }
    }
}

impl Outbox {
    /// Returns the room for the next frame, if the longest one would still fit.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.end + HEADER_LEN..)?.get_mut(..MAX_FRAME)
    }

    /// Returns the frame of `len` bytes that was put into the room.
    pub fn frame(&self, len: usize) -> &[u8] {
        self.bytes.get(self.end + HEADER_LEN..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }

    /// Keeps that frame, unless it has an impossible length.
    pub fn keep(&mut self, len: usize) {
        let Some(header) = header(len) else { return };
        if let Some(place) = self.bytes.get_mut(self.end..self.end + HEADER_LEN) {
            place.copy_from_slice(&header);
            self.end += HEADER_LEN + len;
        }
    }

    /// Takes out everything that was kept, as it goes on the stream.
    pub fn take(&mut self) -> &[u8] {
        let end = core::mem::take(&mut self.end);
        &self.bytes[..end]
    }
}

/// A buffer in which the bytes of a stream wait until they are whole frames.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Inbox {
    /// Makes room for a few of the longest frames, so that one read brings several.
    fn default() -> Self {
        Self { bytes: vec![0; 8 * (HEADER_LEN + MAX_FRAME)].into_boxed_slice(), start: 0, end: 0 }
    }
}

impl Inbox {
    /// Returns the room for the next bytes of the stream. It is never empty once [`Inbox::frame`] has
    /// returned `None`.
    pub fn room(&mut self) -> &mut [u8] {
        // Bytes move only if the rest of a frame might not fit: most reads move nothing.
        if self.start == self.end || self.bytes.len() - self.start < HEADER_LEN + MAX_FRAME {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Records that this many bytes were put into the room.
    pub fn arrived(&mut self, len: usize) {
        self.end = self.bytes.len().min(self.end + len);
    }

    /// Returns the next whole frame, if there is one.
    ///
    /// # Errors
    /// Returns [`BadLength`] if the stream announces an impossible frame.
    pub fn frame(&mut self) -> Result<Option<&[u8]>, BadLength> {
        let Some(split) = split_frame(&self.bytes[self.start..self.end])? else { return Ok(None) };
        self.start = self.end - split.rest.len();
        Ok(Some(split.frame))
    }
}
