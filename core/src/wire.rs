//! Frames on a byte stream: each has its length before it, four bytes, big-endian.
//!
//! This is QEMU's `-netdev socket` framing, which gvproxy calls "qemu"
//! (`pkg/tap/protocols.go` of gvisor-tap-vsock). It is used between the guest helper and the keeper.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

/// The bytes before each frame.
pub const HEADER_LEN: usize = 4;

/// What the keeper says first on each connection, before any frame.
///
/// In a real guest the mounted socket is smolvm's: it takes a connection whether or not there is a
/// keeper behind it. Only this word says that there is one.
pub const HELLO: [u8; 4] = *b"btl1";

/// The longest frame that either side accepts: an MTU of [`MTU`] and an Ethernet header.
pub const MAX_FRAME: usize = MTU as usize + 14;

/// The link's MTU, in bytes. The link is virtual, so its MTU is ours to choose: against 1500 it
/// made gvproxy 4.4 times as fast (310 against 71 MB/s in one run).
pub const MTU: u16 = 65_000;

/// How many bytes each end of the link asks its kernel to hold for it: the longest frame must fit,
/// and with room for a dozen the two ends wait for each other less (1.2 times as fast as with
/// Linux's 208 KiB, `docs/performance.md`). Linux gives at most `net.core.wmem_max`.
pub const IN_FLIGHT: usize = 1 << 20;

/// A length that no frame has. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub u32);

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(announced) = self;
        write!(f, "a frame of {announced} bytes was announced; frames have 1 to {MAX_FRAME}")
    }
}

impl core::error::Error for BadLength {}

/// The header of a frame of `len` bytes, or `None` where no such frame can be sent.
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    match u32::try_from(len) {
        Ok(n) if len != 0 && len <= MAX_FRAME => Some(n.to_be_bytes()),
        _ => None,
    }
}

/// The first whole frame of a stretch of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'b> {
    /// The frame, without its header.
    pub frame: &'b [u8],
    /// What comes after it.
    pub rest: &'b [u8],
}

/// Splits the first whole frame off `bytes`. `Ok(None)` asks for more bytes.
///
/// Nothing is copied and nothing allocated, whatever length the other side announces.
///
/// # Errors
/// [`BadLength`] as soon as a header announces a frame that cannot be.
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

/// Where frames wait until they are written together.
#[derive(Debug)]
pub struct Outbox {
    bytes: Box<[u8]>,
    end: usize,
}

impl Default for Outbox {
    /// Room for a few of the longest frames.
    fn default() -> Self {
        Self { bytes: vec![0; 4 * (HEADER_LEN + MAX_FRAME)].into_boxed_slice(), end: 0 }
    }
}

impl Outbox {
    /// Where the next frame goes, if the longest one would still fit.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.end + HEADER_LEN..)?.get_mut(..MAX_FRAME)
    }

    /// The frame that was put into the room, of `len` bytes.
    pub fn frame(&self, len: usize) -> &[u8] {
        self.bytes.get(self.end + HEADER_LEN..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }

    /// Keeps that frame. One that no stream can carry is not kept.
    pub fn keep(&mut self, len: usize) {
        let Some(header) = header(len) else { return };
        if let Some(place) = self.bytes.get_mut(self.end..self.end + HEADER_LEN) {
            place.copy_from_slice(&header);
            self.end += HEADER_LEN + len;
        }
    }

    /// Everything that was kept, as it goes on the stream. The box is empty then.
    pub fn take(&mut self) -> &[u8] {
        let end = core::mem::take(&mut self.end);
        &self.bytes[..end]
    }
}

/// Where a stream's bytes wait until they are whole frames.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Inbox {
    /// Room for a few of the longest frames, so that one read brings several.
    fn default() -> Self {
        Self { bytes: vec![0; 8 * (HEADER_LEN + MAX_FRAME)].into_boxed_slice(), start: 0, end: 0 }
    }
}

impl Inbox {
    /// Where the next bytes of the stream go. Never empty once [`Inbox::frame`] has given `None`.
    pub fn room(&mut self) -> &mut [u8] {
        // Moved only where the rest of a frame might not fit: most reads move nothing.
        if self.start == self.end || self.bytes.len() - self.start < HEADER_LEN + MAX_FRAME {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put into the room.
    pub fn arrived(&mut self, len: usize) {
        self.end = self.bytes.len().min(self.end + len);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`BadLength`] where the stream announces a frame that cannot be.
    pub fn frame(&mut self) -> Result<Option<&[u8]>, BadLength> {
        let Some(split) = split_frame(&self.bytes[self.start..self.end])? else { return Ok(None) };
        self.start = self.end - split.rest.len();
        Ok(Some(split.frame))
    }
}
