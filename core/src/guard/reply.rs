//! The frames that the guard makes itself.
//!
//! Each goes back to the guest in the name of the address that the guest asked. The guard makes none for
//! an address that no single host can have, and none in answer to a reset or an ICMP error.

use super::ethernet::{self, GATEWAY_MAC, GUEST_MAC, ethertype};
use super::ipv4::{HEADER_LEN, Ipv4, TCP_LEN, Tcp, UDP_LEN, Udp, protocol};
use core::net::Ipv4Addr;

const TTL: u8 = 64;
const ICMP_LEN: usize = 8;
/// How much of the refused packet's payload an ICMP error quotes (RFC 792).
const QUOTED: usize = 8;
const ICMP_UNREACHABLE: u8 = 3;

/// The longest content of a datagram, in bytes: a DNS answer to the longest name there is (RFC 1035).
pub(super) const MAX_DATAGRAM: usize = 287;

/// Room for one reply. The caller owns it and uses it again for every frame.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Default for Reply {
    fn default() -> Self {
        Self { bytes: [0; Self::MAX], len: 0 }
    }
}

impl Reply {
    /// The longest reply, in bytes: a DNS answer to the longest name there is.
    pub const MAX: usize = ethernet::HEADER_LEN + HEADER_LEN + UDP_LEN + MAX_DATAGRAM;

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Answers a TCP segment with a reset that its sender accepts (RFC 9293, 3.10.7.1).
    pub(super) fn reset(&mut self, ip: &Ipv4<'_>, tcp: &Tcp) {
        if tcp.flags & Tcp::RST != 0 {
            return;
        }
        let (sequence, acknowledgment, flags) = if tcp.flags & Tcp::ACK != 0 {
            (tcp.acknowledgment, 0, Tcp::RST)
        } else {
            (0, tcp.sequence.wrapping_add(tcp.length), Tcp::RST | Tcp::ACK)
        };
        let mut segment = [0; TCP_LEN];
        segment[0..2].copy_from_slice(&tcp.destination.to_be_bytes());
        segment[2..4].copy_from_slice(&tcp.source.to_be_bytes());
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&acknowledgment.to_be_bytes());
        segment[12] = 5 << 4;
        segment[13] = flags;
        let sum = transport_checksum(ip.destination, ip.source, protocol::TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        self.packet(ip, protocol::TCP, &[&segment]);
    }

    /// Answers any packet with ICMP "destination unreachable" and `code`.
    pub(super) fn unreachable(&mut self, ip: &Ipv4<'_>, code: u8) {
        let quoted = &ip.payload[..ip.payload.len().min(QUOTED)];
        let mut message = [0; ICMP_LEN + HEADER_LEN + QUOTED];
        message[0] = ICMP_UNREACHABLE;
        message[1] = code;
        message[ICMP_LEN..ICMP_LEN + HEADER_LEN].copy_from_slice(ip.header);
        let end = ICMP_LEN + HEADER_LEN + quoted.len();
        message[ICMP_LEN + HEADER_LEN..end].copy_from_slice(quoted);
        let sum = checksum(&message[..end]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.packet(ip, protocol::ICMP, &[&message[..end]]);
    }

    /// Answers a UDP datagram with another.
    pub(super) fn datagram(&mut self, ip: &Ipv4<'_>, udp: &Udp<'_>, payload: &[u8]) {
        let Ok(len) = u16::try_from(UDP_LEN + payload.len()) else { return };
        let mut header = [0; UDP_LEN];
        header[0..2].copy_from_slice(&udp.destination.to_be_bytes());
        header[2..4].copy_from_slice(&udp.source.to_be_bytes());
        header[4..6].copy_from_slice(&len.to_be_bytes());
        let pseudo = pseudo_header(ip.destination, ip.source, protocol::UDP, len);
        // Zero means "no checksum" in UDP, so a sum of zero is sent as its other form (RFC 768).
        let sum = match finish(add(add(add(0, &pseudo), &header), payload)) {
            0 => 0xffff,
            sum => sum,
        };
        header[6..8].copy_from_slice(&sum.to_be_bytes());
        self.packet(ip, protocol::UDP, &[&header, payload]);
    }

    /// Writes a packet from the destination of `ip` to its source.
    fn packet(&mut self, ip: &Ipv4<'_>, protocol: u8, parts: &[&[u8]]) {
        if !is_one_host(ip.destination) {
            return;
        }
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let Ok(total) = u16::try_from(HEADER_LEN + payload) else { return };
        let mut frame = [0; ethernet::HEADER_LEN];
        frame[0..6].copy_from_slice(&GUEST_MAC);
        frame[6..12].copy_from_slice(&GATEWAY_MAC);
        frame[12..14].copy_from_slice(&ethertype::IPV4.to_be_bytes());
        let mut header = [0; HEADER_LEN];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[8] = TTL;
        header[9] = protocol;
        header[12..16].copy_from_slice(&ip.destination.octets());
        header[16..20].copy_from_slice(&ip.source.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        self.clear();
        for part in [&frame[..], &header].iter().chain(parts) {
            let end = self.len + part.len();
            let Some(room) = self.bytes.get_mut(self.len..end) else {
                return self.clear();
            };
            room.copy_from_slice(part);
            self.len = end;
        }
    }
}

/// Returns whether one host can have this address, so that an answer in its name makes sense (RFC 1122).
fn is_one_host(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 224..)
}

fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> [u8; 12] {
    let mut pseudo = [0; 12];
    pseudo[0..4].copy_from_slice(&source.octets());
    pseudo[4..8].copy_from_slice(&destination.octets());
    pseudo[9] = protocol;
    pseudo[10..12].copy_from_slice(&len.to_be_bytes());
    pseudo
}

pub(super) fn transport_checksum(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    segment: &[u8],
) -> u16 {
    let len = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    finish(add(add(0, &pseudo_header(source, destination, protocol, len)), segment))
}

/// Returns the Internet checksum (RFC 1071). Over bytes that hold their own checksum it is zero.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    finish(add(0, bytes))
}

/// Adds `bytes` to a running sum. Every part except the last has an even length.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (pairs, last) = bytes.as_chunks::<2>();
    let sum = pairs.iter().fold(sum, |sum, &pair| sum + u32::from(u16::from_be_bytes(pair)));
    last.iter().fold(sum, |sum, &byte| sum + (u32::from(byte) << 8))
}

fn finish(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [.., high, low] = (!folded).to_be_bytes();
    u16::from_be_bytes([high, low])
}
