//! Frames that came back, read as far as it takes to know what asked for them.

use crate::guard::ethernet::{Ethernet, ethertype};
use crate::guard::ipv4::{Ipv4, Tcp, Udp, protocol};
use crate::guard::{FirstPacket, Guard};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_UNREACHABLE: u8 = 3;
/// Where an ICMP error quotes the packet that caused it.
const QUOTED: usize = 8;

/// A frame to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived<'f> {
    /// The source address.
    pub from: Ipv4Addr,
    /// The guest's port that it goes to. An echo has its identifier here.
    pub port: u16,
    /// What it carries.
    pub what: What<'f>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'f> {
    /// A TCP segment.
    Tcp {
        /// The port that it comes from.
        from: u16,
        /// The number of its first byte.
        sequence: u32,
        /// The number of the byte that is expected next.
        acknowledgment: u32,
        /// Its flags.
        flags: u8,
        /// What it carries.
        payload: &'f [u8],
    },
    /// A UDP datagram.
    Udp {
        /// The port that it comes from.
        from: u16,
        /// What it carries.
        payload: &'f [u8],
    },
    /// An ICMP error that says that a port cannot be reached.
    Unreachable {
        /// That port.
        of: u16,
    },
    /// An answer to an ICMP echo request.
    Echo,
}

impl<'f> Arrived<'f> {
    /// Reads a frame. Returns `None` if it cannot be an answer to a packet of the guest's.
    pub fn parse(frame: &'f [u8]) -> Option<Self> {
        let ethernet = Ethernet::parse(frame).ok()?;
        if ethernet.kind != ethertype::IPV4 {
            return None;
        }
        let ip = Ipv4::parse(&ethernet).ok()?;
        let word = |at: usize| {
            let bytes = ip.payload.get(at..at + 2)?;
            Some(u16::from_be_bytes(bytes.try_into().ok()?))
        };
        let (port, what) = match ip.protocol {
            protocol::TCP => {
                let tcp = Tcp::parse(ip.payload).ok()?;
                let header = usize::from(ip.payload.get(12)? >> 4) * 4;
                let what = What::Tcp {
                    from: tcp.source,
                    sequence: tcp.sequence,
                    acknowledgment: tcp.acknowledgment,
                    flags: tcp.flags,
                    payload: ip.payload.get(header..)?,
                };
                (tcp.destination, what)
            }
            protocol::UDP => {
                let udp = Udp::parse(ip.payload).ok()?;
                (udp.destination, What::Udp { from: udp.source, payload: udp.payload })
            }
            protocol::ICMP => match *ip.payload.first()? {
                ICMP_UNREACHABLE => {
                    let header = usize::from(ip.payload.get(QUOTED)? & 0xf) * 4;
                    let ports = QUOTED + header;
                    (word(ports)?, What::Unreachable { of: word(ports + 2)? })
                }
                ICMP_ECHO_REPLY => (word(4)?, What::Echo),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { from: ip.source, port, what })
    }
}

/// Returns the source port of a TCP segment or a UDP datagram of the guest's.
pub(super) fn source_port(frame: &[u8]) -> Option<u16> {
    let ethernet = Ethernet::parse(frame).ok()?;
    let ip = Ipv4::parse(&ethernet).ok()?;
    match ip.protocol {
        protocol::TCP => Some(Tcp::parse(ip.payload).ok()?.source),
        protocol::UDP => Some(Udp::parse(ip.payload).ok()?.source),
        _ => None,
    }
}

/// Returns whether a DNS message contains records, and not only the answer that there are none.
pub fn gives_records(message: &[u8]) -> bool {
    let count = |at: usize| message.get(at..at + 2).is_some_and(|count| count != [0, 0]);
    count(6) || count(8) || count(10)
}

impl Guard {
    /// Returns an ARP question for the gateway. Whoever hears it knows the guest.
    pub fn hello_frame(&self) -> Vec<u8> {
        self.frame(&FirstPacket::Arp(self.gateway()))
    }

    /// Returns whether a frame is the gateway's answer to [`Guard::hello_frame`].
    pub fn is_hello_back(&self, frame: &[u8]) -> bool {
        const REPLY: [u8; 2] = [0, 2];
        Ethernet::parse(frame).is_ok_and(|ethernet| {
            ethernet.kind == ethertype::ARP
                && ethernet.payload.get(6..8) == Some(&REPLY)
                && ethernet.payload.get(14..18) == Some(&self.gateway().octets())
        })
    }
}
