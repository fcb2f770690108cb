//! The source ports of one examination.

use super::arrived::source_port;
use alloc::string::String;

/// The source ports of one examination. They are above those that Linux gives to a connection by
/// itself (32768..=60999), so a guest uses one only on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(u16);

impl Block {
    /// How many ports a block has.
    pub const LEN: u16 = 256;
    const FIRST: u16 = 61_440;
    const BLOCKS: u16 = 16;

    /// Picks one of the blocks by a number that nobody can foresee.
    pub fn by(random: u16) -> Self {
        Self(Self::FIRST + random % Self::BLOCKS * Self::LEN)
    }

    /// Returns whether a port is in the block.
    pub fn has(self, port: u16) -> bool {
        port >= self.0 && port - self.0 < Self::LEN
    }

    /// Returns a port of the block. After the last one comes the first again.
    pub fn port(self, nth: u16) -> u16 {
        self.0 + nth % Self::LEN
    }

    /// Returns whether a frame of the guest's has a source port of the block.
    pub fn sent(self, frame: &[u8]) -> bool {
        source_port(frame).is_some_and(|port| self.has(port))
    }
}

/// Returns ports in their order, with neighbours as one range: `1-100, 443`.
pub fn ranges(ports: &[u16]) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    for range in ports.chunk_by(|port, next| port.checked_add(1) == Some(*next)) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = match range {
            [] => Ok(()),
            [port] => write!(text, "{comma}{port}"),
            [first, .., last] => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
}
