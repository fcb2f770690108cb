//! Streams between the guest's helper and the keeper, where the guest's own kernel speaks TCP
//! ([`crate::stack::Stack::Sockets`]).
//!
//! Each TCP connection that the agent makes has a connection of its own to the keeper. The helper begins it with an
//! [`Opening`], which names a door. From then on each side sends chunks, each after its length: four bytes,
//! big-endian. A length of zero ends a direction. A connection that closes without it was broken off, so a reset is
//! never taken for an end, whatever the transport makes of half-closed connections: smolvm's relay of a mounted
//! socket loses the last bytes when the sender closes at once (`docs/upstream-notes.md`).
//!
//! Once both directions have ended, the keeper may offer the connection for another stream ([`AGAIN`]). Then the helper
//! begins again with an [`Opening`], or closes.
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

/// What the keeper sends after the end of both directions, if the connection may be used for another stream.
pub const AGAIN: u8 = 1;

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
    /// What comes before the next bytes of a chunk: an opening, a chunk's length, or both.
    head: [u8; OPENING_LEN + HEAD_LEN],
    head_len: usize,
    /// How much of `head` has been written.
    head_written: usize,
    owed: usize,
    ended: bool,
}

impl Outgoing {
    /// Begins with an opening, which is written along with whatever comes first.
    pub fn opening(opening: Opening) -> Self {
        let mut outgoing = Self::default();
        outgoing.append(&opening.to_bytes());
        outgoing
    }

    /// Announces a chunk of at most `len` bytes, unless an announced one is not complete. Returns how many bytes
    /// may be written after [`Outgoing::head`]. None may once the direction has ended.
    pub fn announce(&mut self, len: usize) -> usize {
        if self.owed == 0 && !self.ended && len > 0 {
            let announced = u32::try_from(len.min(MAX_CHUNK)).unwrap_or_default();
            self.append(&announced.to_be_bytes());
            self.owed = len.min(MAX_CHUNK);
        }
        self.owed.min(len)
    }

    /// Ends the direction, and returns whether that is possible: not in the middle of a chunk.
    pub fn end(&mut self) -> bool {
        if self.ended {
            return true;
        }
        if self.owed > 0 {
            return false;
        }
        self.append(&[0; HEAD_LEN]);
        self.ended = true;
        true
    }

    /// Returns what has to be written first.
    pub fn head(&self) -> &[u8] {
        self.head.get(self.head_written..self.head_len).unwrap_or_default()
    }

    /// Takes note that this many bytes were written: first of the head, then of the chunk. Returns how many of the
    /// chunk there were.
    pub fn wrote(&mut self, written: usize) -> usize {
        let of_head = written.min(self.head().len());
        self.head_written += of_head;
        let of_chunk = (written - of_head).min(self.owed);
        self.owed -= of_chunk;
        of_chunk
    }

    /// Returns whether the direction has ended, and everything is written.
    pub fn is_complete(&self) -> bool {
        self.ended && self.head().is_empty()
    }

    /// Adds to the head what comes after the rest of it. No chunk is owed here, so the rest is at most an opening.
    fn append(&mut self, bytes: &[u8]) {
        let rest = self.head_written..self.head_len;
        let len = rest.len();
        self.head.copy_within(rest, 0);
        if let Some(end) = self.head.get_mut(len..len + bytes.len()) {
            end.copy_from_slice(bytes);
        }
        (self.head_len, self.head_written) = (len + bytes.len(), 0);
    }
}
