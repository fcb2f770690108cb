//! Streams between the guest's helper and the keeper, where the guest's own kernel speaks TCP
//! ([`crate::stack::Stack::Sockets`]).
//!
//! Each TCP connection that the agent makes has a connection of its own to the keeper. The helper begins it with an
//! [`Opening`], which names a door. From then on each side sends chunks, each after its length: four bytes,
//! big-endian. A length of zero ends a direction. A connection that closes without it was broken off, so a reset is
//! never taken for an end, whatever the transport makes of half-closed connections: smolvm's relay of a mounted
//! socket loses the last bytes when the sender closes at once (`docs/upstream-notes.md`).
//!
//! Nothing here reads or writes. [`Incoming`] says what to read next, and [`Outgoing`] what to write.

use core::fmt;
use core::num::NonZeroU16;

/// The length of an [`Opening`], in bytes.
pub const OPENING_LEN: usize = 2;

/// The length of the number before each chunk, in bytes.
pub const HEAD_LEN: usize = 4;

/// The longest chunk, in bytes: what a pipe between two sockets holds.
pub const MAX_CHUNK: usize = 256 << 10;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The helper reports what it refused. The keeper greets it once it is welcome.
    Reports,
    /// A stream to the door with this port.
    Door(NonZeroU16),
}

impl Opening {
    /// Returns the opening as it is sent.
    pub fn to_bytes(self) -> [u8; OPENING_LEN] {
        let port = match self {
            Self::Reports => 0,
            Self::Door(port) => port.get(),
        };
        port.to_be_bytes()
    }

    /// Reads an opening. Every two bytes are one; whether there is such a door is for the keeper to say.
    pub fn from_bytes(bytes: [u8; OPENING_LEN]) -> Self {
        NonZeroU16::new(u16::from_be_bytes(bytes)).map_or(Self::Reports, Self::Door)
    }
}

/// A length that no chunk has. The rest of the stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkTooLong(pub u32);

impl fmt::Display for ChunkTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(announced) = self;
        write!(f, "a chunk of {announced} bytes was announced; chunks have at most {MAX_CHUNK}")
    }
}

impl core::error::Error for ChunkTooLong {}

/// What to read next from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This many bytes of a chunk's length.
    Head(usize),
    /// At most this many bytes of the current chunk. The next chunk's length follows them.
    Payload(usize),
    /// Nothing: the direction has ended.
    End,
}

/// The receiving side of a stream: where in it the next byte is.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    head: [u8; HEAD_LEN],
    head_read: usize,
    left: usize,
    ended: bool,
}

impl Incoming {
    /// Returns what to read next.
    pub fn next(&self) -> Next {
        match self.left {
            _ if self.ended => Next::End,
            0 => Next::Head(HEAD_LEN - self.head_read),
            left => Next::Payload(left),
        }
    }

    /// Takes bytes of a chunk's length: at most as many as [`Next::Head`] asks for.
    ///
    /// # Errors
    /// Returns [`ChunkTooLong`] as soon as a length is complete that no chunk has.
    pub fn head(&mut self, bytes: &[u8]) -> Result<(), ChunkTooLong> {
        for &byte in bytes {
            if let Some(next) = self.head.get_mut(self.head_read) {
                *next = byte;
                self.head_read += 1;
            }
        }
        if self.head_read < HEAD_LEN {
            return Ok(());
        }
        self.head_read = 0;
        let announced = u32::from_be_bytes(self.head);
        match usize::try_from(announced) {
            Ok(0) => self.ended = true,
            Ok(len) if len <= MAX_CHUNK => self.left = len,
            _ => return Err(ChunkTooLong(announced)),
        }
        Ok(())
    }

    /// Takes note that this many bytes of the current chunk were read.
    pub fn payload(&mut self, read: usize) {
        self.left = self.left.saturating_sub(read);
    }
}

/// The sending side of a stream: what has to be written before anything else.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    head: [u8; HEAD_LEN],
    /// How much of `head` is still to be written.
    head_left: usize,
    owed: usize,
    ended: bool,
}

impl Outgoing {
    /// Announces a chunk of at most `len` bytes, unless an announced one is not complete. Returns how many bytes
    /// may be written after [`Outgoing::head`]. None may once the direction has ended.
    pub fn announce(&mut self, len: usize) -> usize {
        if self.is_between_chunks() && !self.ended && len > 0 {
            let announced = u32::try_from(len.min(MAX_CHUNK)).unwrap_or_default();
            (self.head, self.head_left) = (announced.to_be_bytes(), HEAD_LEN);
            self.owed = len.min(MAX_CHUNK);
        }
        self.owed.min(len)
    }

    /// Ends the direction, and returns whether that is possible: not in the middle of a chunk.
    pub fn end(&mut self) -> bool {
        if self.ended {
            return true;
        }
        if !self.is_between_chunks() {
            return false;
        }
        (self.head, self.head_left, self.ended) = ([0; HEAD_LEN], HEAD_LEN, true);
        true
    }

    /// Returns what has to be written first.
    pub fn head(&self) -> &[u8] {
        self.head.get(HEAD_LEN - self.head_left..).unwrap_or_default()
    }

    /// Takes note that this many bytes were written: first of the head, then of the chunk. Returns how many of the
    /// chunk there were.
    pub fn wrote(&mut self, written: usize) -> usize {
        let of_head = written.min(self.head_left);
        self.head_left -= of_head;
        let of_chunk = (written - of_head).min(self.owed);
        self.owed -= of_chunk;
        of_chunk
    }

    /// Returns whether the direction has ended, and everything is written.
    pub fn is_complete(&self) -> bool {
        self.ended && self.head_left == 0
    }

    fn is_between_chunks(&self) -> bool {
        self.owed == 0 && self.head_left == 0
    }
}
