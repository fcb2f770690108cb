//! Frames in the guest's name, made on the host to ask the guard and the doors about them.

use super::ethernet::{GATEWAY_MAC, GUEST_MAC, Mac, ethertype};
use super::ipv4::protocol;
use super::policy::Guard;
use super::reply::{checksum, transport_checksum};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// TCP's flags.
pub mod flag {
    /// The sender has no more to send.
    pub const FIN: u8 = 0x01;
    /// The sender asks for a connection.
    pub const SYN: u8 = 0x02;
    /// There is no such connection.
    pub const RST: u8 = 0x04;
    /// The receiver should pass the data on at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// The segment has urgent data.
    pub const URG: u8 = 0x20;
}

/// A TCP segment that the guest could send.
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
    /// Makes the segment that asks for a connection.
    pub fn syn(from: u16, to: SocketAddrV4, sequence: u32) -> Self {
        Self { from, to, sequence, acknowledgment: 0, flags: flag::SYN, payload: Vec::new() }
    }
}

/// Frames in the name of the guest that the guard belongs to.
impl Guard {
    /// Returns a TCP segment as a whole frame with its checksums.
    pub fn tcp_frame(&self, segment: &Segment) -> Vec<u8> {
        const WINDOW: [u8; 2] = [0xff, 0xff];
        let mut bytes = Vec::new();
        bytes.extend(segment.from.to_be_bytes());
        bytes.extend(segment.to.port().to_be_bytes());
        bytes.extend(segment.sequence.to_be_bytes());
        bytes.extend(segment.acknowledgment.to_be_bytes());
        bytes.extend([5 << 4, segment.flags]);
        bytes.extend(WINDOW);
        bytes.extend([0; 4]);
        bytes.extend(&segment.payload);
        let sum = transport_checksum(self.guest(), *segment.to.ip(), protocol::TCP, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ipv4_frame(protocol::TCP, *segment.to.ip(), &bytes)
    }

    /// Returns a UDP datagram without a checksum.
    pub fn udp_frame(&self, from: u16, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(from.to_be_bytes());
        datagram.extend(to.port().to_be_bytes());
        datagram.extend(u16::try_from(8 + payload.len()).unwrap_or(0).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        self.ipv4_frame(protocol::UDP, *to.ip(), &datagram)
    }

    /// Returns a first TCP segment over IPv6.
    pub fn ipv6_frame(&self, from: u16, to: SocketAddrV6) -> Vec<u8> {
        const HEADER: [u8; 8] = [0x60, 0, 0, 0, 0, 20, 6, 64];
        let mut packet = Vec::from(HEADER);
        packet.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).octets());
        packet.extend(to.ip().octets());
        packet.extend(from.to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flag::SYN, 0xff, 0xff, 0, 0, 0, 0]);
        ethernet(GATEWAY_MAC, ethertype::IPV6, &packet)
    }

    /// Returns a DNS question of any type to a resolver.
    pub fn dns_frame(&self, from: u16, to: Ipv4Addr, name: &str, kind: u16) -> Vec<u8> {
        let mut message = Vec::from([0x62, 0x74, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.trim_end_matches('.').split('.') {
            message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        self.udp_frame(from, SocketAddrV4::new(to, 53), &message)
    }

    pub(super) fn ipv4_frame(&self, protocol: u8, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&u16::try_from(20 + payload.len()).unwrap_or(0).to_be_bytes());
        header[12..16].copy_from_slice(&self.guest().octets());
        header[16..20].copy_from_slice(&destination.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut packet = Vec::from(header);
        packet.extend(payload);
        ethernet(GATEWAY_MAC, ethertype::IPV4, &packet)
    }
}

pub(super) fn ethernet(destination: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from(destination);
    frame.extend(GUEST_MAC);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}
