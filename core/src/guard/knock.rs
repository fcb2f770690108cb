//! What a guest's first packet to a destination looks like, so that a verdict can be asked for
//! without a guest: `bottle check` shows what the guard would do, by asking the guard.

use super::{BROADCAST, GATEWAY_MAC, GUEST_MAC, Guard, Mac, Reply, Verdict, ethertype, reply};
use crate::examine::Segment;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Something that a guest might try to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// A TCP connection.
    Tcp(Ipv4Addr, u16),
    /// A UDP datagram.
    Udp(Ipv4Addr, u16),
    /// ICMP echo.
    Ping(Ipv4Addr),
    /// A DNS question of type A to the gateway.
    Resolve(String),
    /// An ARP question.
    Arp(Ipv4Addr),
}

impl Guard {
    /// The verdict on a guest's first packet to `knock`.
    pub fn knock<'r>(&self, knock: &Knock, reply: &'r mut Reply) -> Verdict<'r> {
        self.from_guest(&self.frame(knock), reply)
    }

    /// The guest's first frame to `knock`.
    pub fn frame(&self, knock: &Knock) -> Vec<u8> {
        const CLIENT: u16 = 40_000;
        match knock {
            Knock::Arp(target) => {
                let mut packet = Vec::from([0, 1, 8, 0, 6, 4, 0, 1]);
                packet.extend(GUEST_MAC);
                packet.extend(self.guest.octets());
                packet.extend([0; 6]);
                packet.extend(target.octets());
                ethernet(BROADCAST, ethertype::ARP, &packet)
            }
            Knock::Tcp(address, port) => {
                let mut segment = Vec::new();
                segment.extend(CLIENT.to_be_bytes());
                segment.extend(port.to_be_bytes());
                segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
                self.ipv4(6, *address, &segment)
            }
            Knock::Udp(address, port) => self.udp(CLIENT, *address, *port, b"knock"),
            Knock::Ping(address) => {
                let mut message = [8, 0, 0, 0, 0, 1, 0, 1];
                let sum = reply::checksum(&message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                self.ipv4(1, *address, &message)
            }
            Knock::Resolve(name) => {
                let mut message = Vec::from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
                for label in name.trim_end_matches('.').split('.') {
                    message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
                    message.extend(label.bytes());
                }
                message.extend([0, 0, 1, 0, 1]);
                self.udp(CLIENT, self.gateway, 53, &message)
            }
        }
    }

    pub(crate) fn tcp(&self, segment: &Segment) -> Vec<u8> {
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
        let sum = reply::transport_checksum(self.guest, *segment.to.ip(), 6, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ipv4(6, *segment.to.ip(), &bytes)
    }

    pub(crate) fn udp(&self, from: u16, address: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(from.to_be_bytes());
        datagram.extend(port.to_be_bytes());
        datagram.extend(u16::try_from(8 + payload.len()).unwrap_or(0).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        self.ipv4(17, address, &datagram)
    }

    fn ipv4(&self, protocol: u8, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&u16::try_from(20 + payload.len()).unwrap_or(0).to_be_bytes());
        header[12..16].copy_from_slice(&self.guest.octets());
        header[16..20].copy_from_slice(&destination.octets());
        let sum = reply::checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut packet = Vec::from(header);
        packet.extend(payload);
        ethernet(GATEWAY_MAC, ethertype::IPV4, &packet)
    }
}

fn ethernet(destination: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from(destination);
    frame.extend(GUEST_MAC);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}
