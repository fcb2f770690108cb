//! A bottle's walls, examined from the host: frames as its guest could send them, and what is to be
//! learned from the frames that come back.
//!
//! Nothing here is the guest's: the frames are made on the host, and so is the judgment on what
//! became of them. They carry source ports of a [`Block`] of their own, so that an answer to one is
//! told from an answer to the guest.

mod arrived;
mod client;
mod odd;

pub use arrived::{Arrived, What};
pub use client::Client;
pub use odd::odd;

use crate::guard::{GATEWAY_MAC, GUEST_MAC, Guard};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// TCP's flags.
pub mod flag {
    /// The sender has no more to send.
    pub const FIN: u8 = 0x01;
    /// A connection is asked for.
    pub const SYN: u8 = 0x02;
    /// There is no such connection.
    pub const RST: u8 = 0x04;
    /// To be handed on at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// Urgent data.
    pub const URG: u8 = 0x20;
}

/// The source ports of one examination. They are above those that Linux gives to a connection by
/// itself (32768..=60999), so a guest that does not mean to has none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(u16);

impl Block {
    /// How many ports a block has.
    pub const LEN: u16 = 256;
    const FIRST: u16 = 61_440;
    const BLOCKS: u16 = 16;

    /// One of the blocks there are, by a number that nobody can foresee.
    pub fn by(random: u16) -> Self {
        Self(Self::FIRST + random % Self::BLOCKS * Self::LEN)
    }

    /// Whether a port is one of the block's.
    pub fn has(self, port: u16) -> bool {
        port >= self.0 && port - self.0 < Self::LEN
    }

    /// A port of the block; counted round.
    pub fn port(self, nth: u16) -> u16 {
        self.0 + nth % Self::LEN
    }
}

/// A TCP segment of the guest's, to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The guest's port.
    pub from: u16,
    /// Where it goes.
    pub to: SocketAddrV4,
    /// The number of its first byte.
    pub sequence: u32,
    /// The number of the byte that is expected next.
    pub acknowledgment: u32,
    /// Its flags.
    pub flags: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Segment {
    /// A connection is asked for.
    pub fn syn(from: u16, to: SocketAddrV4, sequence: u32) -> Self {
        Self { from, to, sequence, acknowledgment: 0, flags: flag::SYN, payload: Vec::new() }
    }
}

/// Frames in the name of the guest that a guard belongs to.
impl Guard {
    /// A TCP segment, whole, with its checksums.
    pub fn tcp_frame(&self, segment: &Segment) -> Vec<u8> {
        self.tcp(segment)
    }

    /// A UDP datagram.
    pub fn udp_frame(&self, from: u16, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        self.udp(from, *to.ip(), to.port(), payload)
    }

    /// A first TCP segment over IPv6.
    pub fn ipv6_frame(&self, from: u16, to: SocketAddrV6) -> Vec<u8> {
        const HEADER: [u8; 8] = [0x60, 0, 0, 0, 0, 20, 6, 64];
        let mut frame = [&GATEWAY_MAC[..], &GUEST_MAC, &[0x86, 0xdd], &HEADER].concat();
        frame.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).octets());
        frame.extend(to.ip().octets());
        frame.extend(from.to_be_bytes());
        frame.extend(to.port().to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flag::SYN, 0xff, 0xff, 0, 0, 0, 0]);
        frame
    }

    /// A DNS question of any type to a resolver.
    pub fn dns_frame(&self, from: u16, to: Ipv4Addr, name: &str, kind: u16) -> Vec<u8> {
        let mut message = Vec::from([0x62, 0x74, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.trim_end_matches('.').split('.') {
            message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        self.udp(from, to, 53, &message)
    }
}

/// Whether a DNS message gives records or an address, and not only the answer that there are none.
pub fn gives_records(message: &[u8]) -> bool {
    let count = |at: usize| message.get(at..at + 2).is_some_and(|count| count != [0, 0]);
    count(6) || count(8) || count(10)
}

/// Ports in their order, neighbours as one range: `1-100, 443`.
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
