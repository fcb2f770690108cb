//! The questions that only the harness asks: the witnesses, and frames that no helper would send.

use super::canaries::{ADDRESSES, WITNESS_PORT};
use bottle_core::guard::FirstPacket;
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC, Guard};
use bottle_core::helper::GUEST_SOCKET;
use bottle_core::plan::Plan;
use bottle_guest::probe::Attempt;
use bottle_guest::probe::raw::hex;
use bottle_oracle::frames::Change;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use std::net::{Ipv4Addr, SocketAddr};

/// The host name that the witness requests from the proxy.
pub const WITNESS_HOST: &str = "witness.test";
/// The names of the witnesses' questions.
pub const WITNESSES: [&str; 2] = ["witness before", "witness after"];

/// The name of the question that bypasses the helper. Most of its frames should get no answer.
pub const RAW: &str = "raw frames";

/// Returns the request for the witness's page, through the proxy or without one.
fn request() -> String {
    format!(
        "GET http://{WITNESS_HOST}:{WITNESS_PORT}/ HTTP/1.1\r\nHost: {WITNESS_HOST}\r\nConnection: close\r\n\r\n"
    )
}

/// Requests the witness's page from the door.
pub fn witness(plan: &Plan) -> Attempt {
    Attempt::Say { address: door(plan), text: request() }
}

/// Requests the witness's page from the door until it answers, for use after a fault.
pub fn witness_in_time(plan: &Plan, nonce: &str) -> Attempt {
    Attempt::Until { address: door(plan), text: request(), wanted: nonce.to_owned(), seconds: 45 }
}

fn door(plan: &Plan) -> SocketAddr {
    SocketAddr::new(plan.subnet.proxy().into(), plan.doors.pipelock())
}

/// Sends frames that no helper would send: spoofed, tagged, fragmented, broadcast, with wrong lengths.
pub fn raw(plan: &Plan) -> Attempt {
    let guard = plan.guard();
    let lan: Ipv4Addr = ADDRESSES[0].1.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    let targets = [
        (plan.subnet.proxy(), 8080),
        (lan, 80),
        (Ipv4Addr::new(169, 254, 169, 254), 80),
        (Ipv4Addr::LOCALHOST, 8080),
    ];
    let mut frames = Vec::new();
    for (address, port) in targets {
        for base in
            [guard.frame(&FirstPacket::Tcp(address, port)), guard.frame(&FirstPacket::Udp(address, port))]
        {
            let variants: [&[Change]; 13] = [
                &[],
                // Another sender: another MAC, another address.
                &[Change::Byte(11, 0x01)],
                &[Change::Byte(29, 9), Change::Checksum],
                &[Change::Word(26, 0x0a00), Change::Checksum],
                // To everybody.
                &[Change::Word(0, 0xffff), Change::Word(2, 0xffff), Change::Word(4, 0xffff)],
                // A VLAN tag before the packet.
                &[Change::Insert(12, vec![0x81, 0x00, 0x00, 0x05])],
                // Fragments: the first of several, and one from the middle.
                &[Change::Word(20, 0x2000), Change::Checksum],
                &[Change::Word(20, 0x0001), Change::Checksum],
                // A first fragment that is too short for the flags, and a fragment that overlaps it.
                &[Change::Word(16, 28), Change::Word(20, 0x2000), Change::Checksum, Change::Cut(42)],
                &[Change::Word(18, 7), Change::Word(20, 0x2000), Change::Checksum],
                &[Change::Word(18, 7), Change::Word(20, 0x0001), Change::Checksum],
                // Loose source routing.
                &[
                    Change::Byte(14, 0x47),
                    Change::Insert(34, vec![131, 7, 4, 192, 0, 2, 10, 0]),
                    Change::Checksum,
                ],
                // Longer than the header says.
                &[Change::Pad(100)],
            ];
            for changes in variants {
                let mut frame = base.clone();
                changes.iter().for_each(|change| change.apply(&mut frame));
                frames.push(frame);
            }
        }
    }
    for address in [plan.subnet.guest(), lan, plan.subnet.proxy()] {
        // ARP in another guest's name.
        let mut frame = guard.frame(&FirstPacket::Arp(address));
        Change::Byte(31, 254).apply(&mut frame);
        frames.push(frame);
    }
    frames.push(guard.frame(&FirstPacket::Udp(Ipv4Addr::BROADCAST, 67)));
    frames.push(guard.frame(&FirstPacket::Udp(Ipv4Addr::new(224, 0, 0, 251), 5353)));
    frames.push(guard.frame(&FirstPacket::Ping(lan)));
    // An IPv6 router solicitation, cut down to its header.
    let mut v6 = [&GATEWAY_MAC[..], &GUEST_MAC, &[0x86, 0xdd, 0x60]].concat();
    v6.resize(60, 0);
    frames.push(v6);
    frames.push(discover(&guard));
    let frames: Vec<String> = frames.iter().map(|frame| hex(frame)).collect();
    let lies = ["00000000", "ffffffff", "7fffffff00", "0000fdf7aabb", "00000001"];
    let bytes = lies.map(str::to_owned).to_vec();
    Attempt::Raw { socket: GUEST_SOCKET.to_owned(), frames, flood: 2_000, bytes }
}

/// Sends the keeper's socket what no helper would: openings without an end, chunks that lie about their
/// length, false ends, and streams that are too long for any buffer.
pub fn lies(plan: &Plan) -> Attempt {
    let door = plan.doors.pipelock().to_be_bytes();
    let http = b"GET http://lies.invalid/ HTTP/1.1\r\nHost: lies.invalid\r\n\r\n";
    let chunk = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], bytes].concat();
    let to_door = |rest: &[u8]| [&door[..], rest].concat();
    let lies = [
        vec![0],
        vec![0, 0],
        // Reports: an empty one, one without an end, one of an unknown kind, and an endless one.
        vec![0, 0, 0, 0, 0, 0],
        vec![0, 0, 0, 0, 0, 9, 1],
        vec![0, 0, 0, 0, 0, 2, 255, 255],
        vec![0, 0, 255, 255, 255, 255],
        to_door(&[]),
        to_door(&[0; 4]),
        to_door(&[255; 4]),
        to_door(&[0, 4, 0, 1]),
        to_door(&[0, 4, 0, 0, 65]),
        to_door(&[&chunk(http)[..], &[0; 4], &chunk(http), &[0; 64]].concat()),
        to_door(&chunk(&vec![b'A'; 200_000])),
    ];
    Attempt::Lies { socket: GUEST_SOCKET.to_owned(), bytes: lies.iter().map(|lie| hex(lie)).collect() }
}

/// Tries every TCP port of an address with hand-made frames.
pub fn every_tcp(plan: &Plan, address: Ipv4Addr) -> Attempt {
    let mut frame = Vec::new();
    // Writing to a vector cannot fail.
    let _ = ipv4(plan, address).tcp(40_000, 1, 1, u16::MAX).syn().write(&mut frame, &[]);
    Attempt::Ports { socket: GUEST_SOCKET.to_owned(), frame: hex(&frame) }
}

/// Tries every UDP port of an address with hand-made frames.
pub fn every_udp(plan: &Plan, address: Ipv4Addr) -> Attempt {
    // The datagram has no checksum, so only its port has to be changed.
    let frame = plan.guard().frame(&FirstPacket::Udp(address, 1));
    Attempt::Ports { socket: GUEST_SOCKET.to_owned(), frame: hex(&frame) }
}

fn ipv4(plan: &Plan, address: Ipv4Addr) -> PacketBuilderStep<IpHeaders> {
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY_MAC).ipv4(plan.subnet.guest().octets(), address.octets(), 64)
}

/// Returns a DHCP client's first message (RFC 2131), which a stock network would answer.
fn discover(guard: &Guard) -> Vec<u8> {
    const COOKIE: [u8; 4] = [99, 130, 83, 99];
    const DISCOVER: [u8; 4] = [53, 1, 1, 255];
    let mut message = vec![1, 1, 6, 0, 0x62, 0x74, 0x6c, 0x31];
    message.resize(28, 0);
    message.extend(GUEST_MAC);
    message.resize(236, 0);
    message.extend(COOKIE);
    message.extend(DISCOVER);
    let mut frame = guard.frame(&FirstPacket::Udp(Ipv4Addr::BROADCAST, 67));
    let payload = frame.len() - FirstPacket::DATAGRAM.len();
    frame.truncate(payload);
    frame.extend(&message);
    let udp = u16::try_from(8 + message.len()).unwrap_or(0);
    for change in [
        Change::Word(16, 20 + udp),
        // From no address yet, port 68, to everybody.
        Change::Word(26, 0),
        Change::Word(28, 0),
        Change::Word(34, 68),
        Change::Word(38, udp),
        Change::Checksum,
        Change::Word(0, 0xffff),
        Change::Word(2, 0xffff),
        Change::Word(4, 0xffff),
    ] {
        change.apply(&mut frame);
    }
    frame
}
