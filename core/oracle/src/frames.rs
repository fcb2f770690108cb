//! Frames that are worth asking about: valid traffic, and what a change makes of it.

use bottle_core::guard::FirstPacket;
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC, Guard};
use etherparse::PacketBuilder;
use std::net::Ipv4Addr;

use crate::policy::Bottle;

/// Returns valid frames from a guest, of every kind that the policy mentions.
pub fn from_guest(guard: &Guard, bottle: &Bottle) -> Vec<Vec<u8>> {
    let door = bottle.doors.first().copied().unwrap_or(1);
    let public = Ipv4Addr::new(192, 0, 2, 1);
    let mut packets = vec![
        FirstPacket::Arp(bottle.gateway),
        FirstPacket::Arp(bottle.proxy),
        FirstPacket::Arp(bottle.guest),
        FirstPacket::Arp(public),
        FirstPacket::Ping(bottle.gateway),
        FirstPacket::Ping(public),
        FirstPacket::Udp(bottle.gateway, 53),
        FirstPacket::Udp(bottle.gateway, 67),
        FirstPacket::Udp(Ipv4Addr::BROADCAST, 67),
        FirstPacket::Udp(public, 53),
        FirstPacket::Udp(bottle.proxy, door),
    ];
    for address in [bottle.proxy, bottle.gateway, bottle.guest, public, Ipv4Addr::LOCALHOST] {
        packets.extend([door, 80, 53, 1, 65_535].map(|port| FirstPacket::Tcp(address, port)));
    }
    for name in
        ["proxy.internal", "PrOxY.InTeRnAl", "internal", "proxy", "a.proxy.internal", "example.com", ""]
    {
        packets.push(FirstPacket::Resolve(name.to_owned()));
    }
    packets.push(FirstPacket::Resolve(format!("{0}.{0}.{0}.{1}.com", "x".repeat(63), "y".repeat(50))));
    let mut frames: Vec<Vec<u8>> = packets.iter().map(|packet| guard.frame(packet)).collect();
    for len in [0, 1, 1_400, 60_000] {
        let build = ethernet(GUEST_MAC, GATEWAY_MAC)
            .ipv4(bottle.guest.octets(), bottle.proxy.octets(), 64)
            .tcp(40_000, door, 7, 1_000)
            .ack(9);
        frames.push(written(|out| build.write(out, &vec![0x5a; len])));
    }
    frames
}

/// Returns valid frames to a guest.
pub fn to_guest(bottle: &Bottle) -> Vec<Vec<u8>> {
    let door = bottle.doors.first().copied().unwrap_or(1);
    let mut frames = Vec::new();
    for (source, port) in
        [(bottle.proxy, door), (bottle.proxy, 80), (bottle.gateway, door), (bottle.gateway, 53)]
    {
        let start = || ethernet(GATEWAY_MAC, GUEST_MAC).ipv4(source.octets(), bottle.guest.octets(), 64);
        frames.push(written(|out| start().tcp(port, 40_000, 1, 1_000).syn().ack(2).write(out, b"")));
        frames.push(written(|out| start().tcp(port, 40_000, 1, 1_000).ack(2).write(out, b"hello")));
        frames.push(written(|out| start().udp(port, 40_000).write(out, b"hello")));
        frames.push(written(|out| start().icmpv4_echo_request(1, 2).write(out, b"hello")));
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
        arp.extend(GATEWAY_MAC);
        arp.extend(source.octets());
        arp.extend(GUEST_MAC);
        arp.extend(bottle.guest.octets());
        frames.push([&GUEST_MAC[..], &GATEWAY_MAC, &[8, 6], &arp].concat());
    }
    frames
}

fn ethernet(
    source: [u8; 6],
    destination: [u8; 6],
) -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2(source, destination)
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("a vector takes every frame");
    frame
}

/// One change to a frame.
#[derive(Clone, Debug)]
pub enum Change {
    /// Replaces the byte at this place.
    Byte(usize, u8),
    /// Replaces two bytes by a number, as header fields are written.
    Word(usize, u16),
    /// Cuts the frame off here.
    Cut(usize),
    /// Appends this many zeroes.
    Pad(usize),
    /// Inserts these bytes here: a VLAN tag, IP options, another label.
    Insert(usize, Vec<u8>),
    /// Corrects the IPv4 header's checksum, so that the guard looks at what is behind it.
    Checksum,
}

impl Change {
    /// Makes the change. Places count modulo the frame's length.
    pub fn apply(&self, frame: &mut Vec<u8>) {
        let len = frame.len();
        match self {
            Self::Byte(at, value) if len > 0 => frame[at % len] = *value,
            Self::Word(at, value) if len > 1 => {
                let at = at % (len - 1);
                frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
            }
            Self::Cut(at) => frame.truncate(at % (len + 1)),
            Self::Pad(more) => frame.resize(len + more % 2_000, 0),
            Self::Insert(at, bytes) => {
                let at = at % (len + 1);
                frame.splice(at..at, bytes.iter().copied());
            }
            Self::Checksum => {
                if let Some(header) = frame.get(14..)
                    && let Ok(header) = etherparse::Ipv4HeaderSlice::from_slice(header)
                {
                    let sum = header.to_header().calc_header_checksum();
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                }
            }
            Self::Byte(..) | Self::Word(..) => {}
        }
    }
}
