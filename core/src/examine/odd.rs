//! Frames that no guest's kernel would send. Each is wrong in one way and right in every other, and goes
//! to a door, so that its oddity is the only reason to refuse it.

use crate::guard::{FirstPacket, GATEWAY_MAC, GUEST_MAC, Guard, Mac, Segment, checksum, flag};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Where fields are in an Ethernet frame with an IPv4 header without options.
mod at {
    pub const SOURCE_MAC: usize = 6;
    pub const KIND: usize = 12;
    pub const IP: usize = 14;
    pub const TOTAL: usize = 16;
    pub const FRAGMENT: usize = 20;
    pub const PROTOCOL: usize = 23;
    pub const SUM: usize = 24;
    pub const SOURCE: usize = 26;
    pub const DESTINATION: usize = 30;
    pub const PAYLOAD: usize = 34;
    pub const OFFSET: usize = 46;
    pub const ARP_SENDER_MAC: usize = 22;
    pub const ARP_SENDER: usize = 28;
}

/// Returns every odd frame with its name, from this port of the guest's to this door.
pub fn odd(guard: &Guard, from: u16, door: u16) -> Vec<(String, Vec<u8>)> {
    let to = SocketAddrV4::new(guard.proxy(), door);
    let whole = guard.tcp_frame(&Segment::syn(from, to, 1));
    let mut odd = Odd { whole, frames: Vec::new() };
    odd.ethernet();
    odd.ipv4(guard);
    odd.transport(guard, from, to);
    odd.arp(guard);
    odd.frames
}

struct Odd {
    /// A first segment to a door. As it is, it passes.
    whole: Vec<u8>,
    frames: Vec<(String, Vec<u8>)>,
}

impl Odd {
    fn add(&mut self, name: impl Into<String>, frame: Vec<u8>) {
        self.frames.push((name.into(), frame));
    }

    /// Adds the whole frame with some bytes replaced and its header's checksum corrected.
    fn with(&mut self, name: &str, changes: &[(usize, &[u8])]) {
        let mut frame = self.whole.clone();
        for (at, bytes) in changes {
            frame[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.add(name, summed(frame));
    }

    fn ethernet(&mut self) {
        for len in 0..self.whole.len() {
            let frame = self.whole[..len].to_vec();
            self.add(format!("the first {len} bytes"), frame);
        }
        let others: [(&str, Mac); 3] = [
            ("broadcast", [0xff; 6]),
            ("multicast", [0x01, 0, 0x5e, 0, 0, 0xfb]),
            ("to another's MAC", [0x02, 0, 0, 0, 0, 1]),
        ];
        for (name, mac) in others {
            self.with(name, &[(0, &mac)]);
        }
        self.with("from another's MAC", &[(at::SOURCE_MAC, &[0x02, 0, 0, 0, 0, 2])]);
        self.with("from the gateway's MAC", &[(at::SOURCE_MAC, &GATEWAY_MAC)]);
        let kinds =
            [0x0000_u16, 0x0600, 0x0801, 0x22f0, 0x8035, 0x8137, 0x86dd, 0x8847, 0x8863, 0x88cc, 0xffff];
        for kind in kinds {
            self.with(&format!("ethertype {kind:#06x}"), &[(at::KIND, &kind.to_be_bytes())]);
        }
        for (name, tag) in [("VLAN", [0x81, 0x00, 0, 5]), ("provider VLAN", [0x88, 0xa8, 0, 5])] {
            let mut frame = self.whole.clone();
            frame.splice(at::KIND..at::KIND, tag);
            self.add(name, frame);
        }
        let mut longer = self.whole.clone();
        longer.resize(longer.len() + 100, 0);
        self.add("bytes after the packet", longer);
        self.add("longer than the MTU", vec![0; crate::wire::MAX_FRAME + 1]);
    }

    fn ipv4(&mut self, guard: &Guard) {
        self.with("IPv4 version 5", &[(at::IP, &[0x55])]);
        self.with("a header of four words", &[(at::IP, &[0x44])]);
        let mut optional = self.whole.clone();
        optional.splice(at::PAYLOAD..at::PAYLOAD, [131, 7, 4, 192, 0, 2, 10, 0]);
        optional[at::IP] = 0x47;
        self.add("loose source routing", summed(optional));
        self.with("a first fragment", &[(at::FRAGMENT, &[0x20, 0])]);
        self.with("a later fragment", &[(at::FRAGMENT, &[0, 1])]);
        self.with("the reserved flag", &[(at::FRAGMENT, &[0x80, 0])]);
        self.with("a packet longer than its frame", &[(at::TOTAL, &[0xff, 0xff])]);
        self.with("a packet shorter than its header", &[(at::TOTAL, &[0, 19])]);
        let mut wrong = self.whole.clone();
        wrong[at::SUM] ^= 1;
        self.add("a wrong checksum", wrong);
        let [a, b, c, last] = guard.guest().octets();
        for (name, source) in [
            ("from the gateway's address", guard.gateway()),
            ("from a neighbour on its own net", Ipv4Addr::new(a, b, c, last + 1)),
            ("from another bottle's guest", Ipv4Addr::new(a, b, c % 254 + 1, last)),
            ("from no address", Ipv4Addr::UNSPECIFIED),
            ("from loopback", Ipv4Addr::LOCALHOST),
        ] {
            self.with(name, &[(at::SOURCE, &source.octets())]);
        }
        for (name, address) in [
            ("to everybody", Ipv4Addr::BROADCAST),
            ("to everybody on its net", Ipv4Addr::new(a, b, c, 255)),
            ("to no address", Ipv4Addr::UNSPECIFIED),
            ("to itself", guard.guest()),
            ("to a multicast group", Ipv4Addr::new(224, 0, 0, 251)),
        ] {
            self.with(name, &[(at::DESTINATION, &address.octets())]);
        }
        for protocol in (0..=u8::MAX).filter(|protocol| *protocol != 6) {
            self.with(&format!("IP protocol {protocol}"), &[(at::PROTOCOL, &[protocol])]);
        }
        // 60 bytes of IPv6: the header of a router solicitation, and little after it.
        let mut solicitation = [&GATEWAY_MAC[..], &GUEST_MAC, &[0x86, 0xdd, 0x60]].concat();
        solicitation.resize(60, 0);
        self.add("IPv6", solicitation);
    }

    fn transport(&mut self, guard: &Guard, from: u16, to: SocketAddrV4) {
        self.with("a TCP header of four words", &[(at::OFFSET, &[4 << 4])]);
        self.with("a TCP header longer than its segment", &[(at::OFFSET, &[15 << 4])]);
        // Neither a first segment nor one of an existing connection.
        let closed = SocketAddrV4::new(*to.ip(), to.port() ^ 0x8000);
        for flags in [0, flag::FIN, flag::ACK, flag::RST, flag::SYN | flag::FIN, 0x3f] {
            let segment = Segment { flags, ..Segment::syn(from, closed, 1) };
            self.add(format!("TCP flags {flags:#04x} to no door"), guard.tcp_frame(&segment));
        }
        self.add("UDP to a door's port", guard.udp_frame(from, to, b"verify"));
        for (name, address) in [("gateway", guard.gateway()), ("proxy", guard.proxy())] {
            self.add(format!("an echo request to the {name}"), guard.frame(&FirstPacket::Ping(address)));
            self.add(
                format!("DHCP to the {name}"),
                guard.udp_frame(68, SocketAddrV4::new(address, 67), b"verify"),
            );
        }
        let tcp_dns = Segment::syn(from, SocketAddrV4::new(guard.gateway(), 53), 1);
        self.add("DNS over TCP", guard.tcp_frame(&tcp_dns));
    }

    fn arp(&mut self, guard: &Guard) {
        let [a, b, c, _] = guard.guest().octets();
        for (name, target) in [
            ("ARP for itself", guard.guest()),
            ("ARP for a neighbour", Ipv4Addr::new(a, b, c, 3)),
            ("ARP for another net", Ipv4Addr::new(192, 0, 2, 1)),
        ] {
            self.add(name.to_owned(), guard.frame(&FirstPacket::Arp(target)));
        }
        let asked = guard.frame(&FirstPacket::Arp(guard.gateway()));
        let mut in_name = |name: &str, at: usize, bytes: &[u8]| {
            let mut frame = asked.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            self.add(name, frame);
        };
        in_name("ARP in the gateway's name", at::ARP_SENDER, &guard.gateway().octets());
        in_name("ARP in the proxy's name", at::ARP_SENDER, &guard.proxy().octets());
        in_name("ARP with the gateway's MAC", at::ARP_SENDER_MAC, &GATEWAY_MAC);
        in_name("ARP of another kind", at::IP, &[0, 6]);
    }
}

/// Returns the frame with its IPv4 header's checksum corrected.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let end = at::IP + usize::from(frame[at::IP] & 0xf) * 4;
    frame[at::SUM..at::SUM + 2].copy_from_slice(&[0, 0]);
    if let Some(header) = frame.get(at::IP..end) {
        let sum = checksum(header);
        frame[at::SUM..at::SUM + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}
