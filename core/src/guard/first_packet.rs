//! The first packet that a guest sends to a destination, so that the guard can be asked without a guest:
//! `bottle check` shows what the guard would do by asking the guard.

use super::ethernet::{BROADCAST, GUEST_MAC, ethertype};
use super::frames::{Segment, ethernet};
use super::ipv4::protocol;
use super::policy::{Guard, Verdict};
use super::reply::{self, Reply};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// The first packet to something that a guest might try to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// The request for a TCP connection.
    Tcp(Ipv4Addr, u16),
    /// A UDP datagram with the content [`FirstPacket::DATAGRAM`].
    Udp(Ipv4Addr, u16),
    /// An ICMP echo request.
    Ping(Ipv4Addr),
    /// A DNS question of type A to the gateway.
    Resolve(String),
    /// An ARP question.
    Arp(Ipv4Addr),
}

impl FirstPacket {
    /// The content of a UDP datagram.
    pub const DATAGRAM: &[u8] = b"hello";
}

impl Guard {
    /// Decides about the first packet that a guest would send.
    pub fn on_first_packet<'r>(&self, packet: &FirstPacket, reply: &'r mut Reply) -> Verdict<'r> {
        self.from_guest(&self.frame(packet), reply)
    }

    /// Returns the frame in which a guest would send this packet.
    pub fn frame(&self, packet: &FirstPacket) -> Vec<u8> {
        const CLIENT: u16 = 40_000;
        const TYPE_A: u16 = 1;
        match packet {
            FirstPacket::Arp(target) => {
                let mut packet = Vec::from([0, 1, 8, 0, 6, 4, 0, 1]);
                packet.extend(GUEST_MAC);
                packet.extend(self.guest().octets());
                packet.extend([0; 6]);
                packet.extend(target.octets());
                ethernet(BROADCAST, ethertype::ARP, &packet)
            }
            FirstPacket::Tcp(address, port) => {
                self.tcp_frame(&Segment::syn(CLIENT, SocketAddrV4::new(*address, *port), 1))
            }
            FirstPacket::Udp(address, port) => {
                self.udp_frame(CLIENT, SocketAddrV4::new(*address, *port), FirstPacket::DATAGRAM)
            }
            FirstPacket::Ping(address) => {
                let mut message = [8, 0, 0, 0, 0, 1, 0, 1];
                let sum = reply::checksum(&message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                self.ipv4_frame(protocol::ICMP, *address, &message)
            }
            FirstPacket::Resolve(name) => self.dns_frame(CLIENT, self.gateway(), name, TYPE_A),
        }
    }
}
