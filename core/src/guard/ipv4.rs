//! IPv4 packets, and the TCP segments and UDP datagrams in them.

use super::ethernet::Ethernet;
use super::refusal::Refusal;
use core::net::Ipv4Addr;

pub(super) const HEADER_LEN: usize = 20;
pub(super) const TCP_LEN: usize = 20;
pub(super) const UDP_LEN: usize = 8;

pub(crate) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
}

/// Codes of ICMP "destination unreachable" (RFC 792, RFC 1812).
pub(super) mod unreachable {
    pub const PROTOCOL: u8 = 2;
    pub const PORT: u8 = 3;
    pub const PROHIBITED: u8 = 13;
}

/// The one flag of the fragment field that may be set.
const DONT_FRAGMENT: u16 = 0x4000;

/// A checked view of an IPv4 packet that has no options and is not a fragment.
pub(crate) struct Ipv4<'f> {
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub header: &'f [u8; HEADER_LEN],
    pub payload: &'f [u8],
}

impl<'f> Ipv4<'f> {
    pub fn parse(ethernet: &Ethernet<'f>) -> Result<Self, Refusal> {
        let (header, rest) = ethernet.payload.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Truncated)?;
        let [version_ihl, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            *header;
        match (version_ihl >> 4, version_ihl & 0xf) {
            (4, 5) => {}
            (4, 6..) => return Err(Refusal::Ipv4Options),
            _ => return Err(Refusal::Ipv4Malformed),
        }
        let total = usize::from(u16::from_be_bytes([l0, l1]));
        let len = total.checked_sub(HEADER_LEN).ok_or(Refusal::Ipv4Malformed)?;
        ethernet.holds(total)?;
        let payload = rest.get(..len).ok_or(Refusal::Truncated)?;
        if !is_whole(header) {
            return Err(Refusal::Ipv4Checksum);
        }
        if u16::from_be_bytes([f0, f1]) & !DONT_FRAGMENT != 0 {
            return Err(Refusal::Fragment);
        }
        Ok(Self {
            protocol,
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            header,
            payload,
        })
    }
}

/// Returns whether a header's checksum is right: all its words add up to "minus zero" (RFC 1071). The
/// sum is the same in any byte order and any word size, so it is taken in five words of four bytes.
fn is_whole(header: &[u8; HEADER_LEN]) -> bool {
    let (words, _) = header.as_chunks::<4>();
    let sum: u64 = words.iter().map(|&word| u64::from(u32::from_ne_bytes(word))).sum();
    // Minus zero is a multiple of 0xffff other than zero, and so is what the words add up to.
    sum.is_multiple_of(0xffff) && sum != 0
}

/// A checked view of a TCP segment's header.
pub(crate) struct Tcp {
    pub source: u16,
    pub destination: u16,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: u8,
    /// How much of the sequence space the segment takes up.
    pub length: u32,
}

impl Tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;

    pub fn parse(segment: &[u8]) -> Result<Self, Refusal> {
        let header = segment.first_chunk::<TCP_LEN>().ok_or(Refusal::TcpMalformed)?;
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, ..] = *header;
        let header_len = usize::from(offset >> 4) * 4;
        if header_len < TCP_LEN || header_len > segment.len() {
            return Err(Refusal::TcpMalformed);
        }
        // A segment is at most 65,535 bytes long, so the sum fits.
        let data = u32::try_from(segment.len() - header_len).map_err(|_| Refusal::TcpMalformed)?;
        let flag = |bit| u32::from(flags & bit != 0);
        Ok(Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            flags,
            length: data + flag(Self::SYN) + flag(Self::FIN),
        })
    }
}

/// A checked view of a UDP datagram.
pub(crate) struct Udp<'f> {
    pub source: u16,
    pub destination: u16,
    pub payload: &'f [u8],
}

impl<'f> Udp<'f> {
    pub fn parse(datagram: &'f [u8]) -> Result<Self, Refusal> {
        let (header, payload) = datagram.split_first_chunk::<UDP_LEN>().ok_or(Refusal::UdpMalformed)?;
        let [s0, s1, d0, d1, l0, l1, _, _] = *header;
        if usize::from(u16::from_be_bytes([l0, l1])) != datagram.len() {
            return Err(Refusal::UdpMalformed);
        }
        Ok(Self { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]), payload })
    }
}
