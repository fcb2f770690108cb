//! The packets of the SSH file transfer protocol in a stream of bytes, and what is in one.

use bytes::{Buf, Bytes, BytesMut};

/// The longest packet, in bytes, without its length: OpenSSH's limit and ours.
pub const LONGEST: u32 = bottle_guest::sftp::wire::LONGEST;

/// A packet that is longer than any may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// What came and is no whole packet yet.
#[derive(Debug, Default)]
pub struct Packets(BytesMut);

impl Packets {
    /// Adds what came.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Takes the next whole packet, without its length.
    ///
    /// # Errors
    /// Returns an error if it would be too long, before it is there.
    pub fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(head) = self.0.first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*head);
        if len > LONGEST {
            return Err(TooLong);
        }
        if self.0.len() < 4 + len as usize {
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(len as usize).freeze()))
    }
}

/// What is left of a packet.
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    /// Takes this many bytes, if they are there.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// Takes a number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Takes a number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Takes bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }
}
