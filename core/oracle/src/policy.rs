//! The policy, in the plainest form.

use etherparse::{ArpPacketSlice, Ethernet2HeaderSlice, Ipv4HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};
use std::net::Ipv4Addr;

/// What the policy has to know about a bottle.
#[derive(Clone, Debug)]
pub struct Bottle {
    /// The virtual router's address.
    pub gateway: Ipv4Addr,
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// The address of `proxy.internal`.
    pub proxy: Ipv4Addr,
    /// The ports of the active sidecars.
    pub doors: Vec<u16>,
}

/// What has to happen to a frame from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes.
    Pass,
    /// It is a question and gets an answer.
    Answer,
    /// It does not pass, and its sender is told so.
    RefuseAloud,
    /// It does not pass. Whether its sender is told so does not matter.
    Refuse,
}

const GUEST: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];
const GATEWAY: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd];
const EVERYBODY: [u8; 6] = [0xff; 6];
const LONGEST: usize = 65_014;
const SHORTEST_ON_A_WIRE: usize = 60;

/// An IPv4 packet with a valid header that has no options and is not a fragment.
struct Packet<'f> {
    header: Ipv4HeaderSlice<'f>,
    payload: &'f [u8],
}

fn packet<'f>(frame: &'f [u8]) -> Option<Packet<'f>> {
    let header = Ipv4HeaderSlice::from_slice(frame.get(14..)?).ok()?;
    let total = usize::from(header.total_len());
    let end = 14 + total;
    let whole = header.ihl() == 5 && total >= 20 && frame.len() >= end;
    let unpadded = frame.len() == end || frame.len() <= SHORTEST_ON_A_WIRE;
    let summed = header.to_header().calc_header_checksum() == header.header_checksum();
    // The flag that RFC 791 reserves has no accessor.
    let reserved = header.slice()[6] & 0x80 != 0;
    let fragment = header.more_fragments() || header.fragments_offset().value() != 0;
    (whole && unpadded && summed && !reserved && !fragment)
        .then(|| Packet { payload: &frame[34..end], header })
}

/// Returns the source port and the destination port of a TCP segment, and whether it is a reset.
fn tcp(payload: &[u8]) -> Option<(u16, u16, bool)> {
    let header = TcpHeaderSlice::from_slice(payload).ok()?;
    Some((header.source_port(), header.destination_port(), header.rst()))
}

/// Returns the destination port and the content of a UDP datagram.
fn udp(payload: &[u8]) -> Option<(u16, &[u8])> {
    let header = UdpHeaderSlice::from_slice(payload).ok()?;
    (usize::from(header.length()) == payload.len()).then(|| (header.destination_port(), &payload[8..]))
}

struct Question {
    name: String,
    kind: u16,
    class: u16,
}

/// Returns the only question of a query, with the name in lower case.
fn question(message: &[u8]) -> Option<Question> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (flags, questions) = (word(2)?, word(4)?);
    if message.len() < 12 || flags & 0xf800 != 0 || questions != 1 {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = 12;
    while *message.get(at)? != 0 {
        let len = usize::from(message[at]);
        if len > 63 {
            return None;
        }
        let label = message.get(at + 1..at + 1 + len)?;
        labels.push(label.iter().map(|&b| char::from(b.to_ascii_lowercase())).collect::<String>());
        at += 1 + len;
    }
    let name = labels.join(".");
    // A label may contain a dot of its own. Then the name is not what it seems.
    let honest = labels.iter().all(|label| !label.contains('.'));
    (at + 1 - 12 <= 255 && honest).then_some(Question { name, kind: word(at + 1)?, class: word(at + 3)? })
}

impl Bottle {
    /// Decides about a frame that the guest sends.
    pub fn from_guest(&self, frame: &[u8]) -> Fate {
        let Ok(ethernet) = Ethernet2HeaderSlice::from_slice(frame) else { return Fate::Refuse };
        if frame.len() > LONGEST || ethernet.source() != GUEST {
            return Fate::Refuse;
        }
        match ethernet.ether_type().0 {
            0x0806 if self.arp(frame, GUEST, &[self.guest], &[self.gateway, self.proxy]) => {
                match ethernet.destination() {
                    EVERYBODY | GATEWAY => Fate::Pass,
                    _ => Fate::Refuse,
                }
            }
            0x0800 if ethernet.destination() == GATEWAY => self.ipv4_from_guest(frame),
            _ => Fate::Refuse,
        }
    }

    fn ipv4_from_guest(&self, frame: &[u8]) -> Fate {
        let Some(Packet { header, payload }) = packet(frame) else { return Fate::Refuse };
        if header.source_addr() != self.guest {
            return Fate::Refuse;
        }
        let to = header.destination_addr();
        let somebody = !to.is_multicast() && to.octets()[0] != 0 && to.octets()[0] < 224;
        let aloud = if somebody { Fate::RefuseAloud } else { Fate::Refuse };
        match header.protocol().0 {
            6 => match tcp(payload) {
                Some((_, port, _)) if to == self.proxy && self.doors.contains(&port) => Fate::Pass,
                Some((_, _, false)) => aloud,
                _ => Fate::Refuse,
            },
            17 => match udp(payload) {
                Some((53, message)) if to == self.gateway => Self::dns(message),
                Some(_) => aloud,
                None => Fate::Refuse,
            },
            _ => Fate::Refuse,
        }
    }

    fn dns(message: &[u8]) -> Fate {
        let is_question = message.len() >= 12 && message[2] & 0x80 == 0;
        match question(message) {
            Some(q) if q.name == "proxy.internal" && q.class == 1 && matches!(q.kind, 1 | 28) => Fate::Answer,
            _ if is_question => Fate::RefuseAloud,
            _ => Fate::Refuse,
        }
    }

    /// Returns whether a frame that the network stack sends may reach the guest.
    pub fn to_guest(&self, frame: &[u8]) -> bool {
        let Ok(ethernet) = Ethernet2HeaderSlice::from_slice(frame) else { return false };
        if frame.len() > LONGEST || ethernet.source() != GATEWAY {
            return false;
        }
        let (to, kind) = (ethernet.destination(), ethernet.ether_type().0);
        match kind {
            0x0806 if to == EVERYBODY || to == GUEST => {
                self.arp(frame, GATEWAY, &[self.gateway, self.proxy], &[self.guest])
            }
            0x0800 if to == GUEST => {
                let Some(Packet { header, payload }) = packet(frame) else { return false };
                header.source_addr() == self.proxy
                    && header.destination_addr() == self.guest
                    && header.protocol().0 == 6
                    && tcp(payload).is_some_and(|(port, _, _)| self.doors.contains(&port))
            }
            _ => false,
        }
    }

    /// Returns whether this is ARP for IPv4 over Ethernet, a question or an answer, from one of the addresses
    /// in `from` about one of those in `about`.
    fn arp(&self, frame: &[u8], mac: [u8; 6], from: &[Ipv4Addr], about: &[Ipv4Addr]) -> bool {
        let Ok(arp) = ArpPacketSlice::from_slice(&frame[14..]) else { return false };
        let is = |bytes: &[u8], addresses: &[Ipv4Addr]| addresses.iter().any(|a| a.octets() == bytes);
        frame.len() <= SHORTEST_ON_A_WIRE
            && arp.hw_addr_type().0 == 1
            && arp.proto_addr_type().0 == 0x0800
            && (arp.hw_addr_size(), arp.proto_addr_size()) == (6, 4)
            && matches!(arp.operation().0, 1 | 2)
            && arp.sender_hw_addr() == mac
            && is(arp.sender_protocol_addr(), from)
            && is(arp.target_protocol_addr(), about)
    }
}
