//! The frames that examine a bottle. Each odd one is refused, the whole one passes, and the small client
//! speaks TCP.

use bottle_core::examine::{Arrived, Block, Client, Segment, What, flag, gives_records, odd, ranges};
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC, Guard, Reply, Verdict};
use bottle_core::subnet::Subnet;
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

const DOOR: u16 = 20_000;

fn guard() -> Guard {
    Guard::new(Subnet::FIXED, &BTreeSet::from([DOOR]))
}

fn door(guard: &Guard) -> SocketAddrV4 {
    SocketAddrV4::new(guard.proxy(), DOOR)
}

#[test]
fn an_odd_frame_is_refused_only_for_its_oddity() {
    let (guard, mut reply) = (guard(), Reply::default());
    let whole = guard.tcp_frame(&Segment::syn(61_500, door(&guard), 1));
    assert_eq!(guard.from_guest(&whole, &mut reply), Verdict::Forward);
    let frames = odd(&guard, 61_500, DOOR);
    assert!(frames.len() > 300, "{}", frames.len());
    let names: BTreeSet<_> = frames.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), frames.len());
    for (name, frame) in &frames {
        assert_ne!(guard.from_guest(frame, &mut reply), Verdict::Forward, "{name}");
    }
}

#[test]
fn another_parser_reads_the_frames_that_are_made() {
    let guard = guard();
    let segment = Segment {
        acknowledgment: 7,
        flags: flag::ACK | flag::PSH,
        payload: b"hello".to_vec(),
        ..Segment::syn(61_500, door(&guard), 5)
    };
    let frame = guard.tcp_frame(&segment);
    let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("{sliced:?}") };
    assert_eq!((tcp.source_port(), tcp.destination_port()), (61_500, DOOR));
    assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (5, 7));
    assert!(tcp.ack() && tcp.psh() && !tcp.syn() && !tcp.rst());
    assert_eq!(tcp.payload(), b"hello");
    let sum =
        tcp.to_header().calc_checksum_ipv4_raw(guard.guest().octets(), guard.proxy().octets(), tcp.payload());
    assert_eq!(tcp.checksum(), sum.unwrap());
}

/// Makes a frame from a door to the guest.
fn back(guard: &Guard, port: u16, sequence: u32, acknowledgment: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut build = PacketBuilder::ethernet2(GATEWAY_MAC, GUEST_MAC)
        .ipv4(guard.proxy().octets(), guard.guest().octets(), 64)
        .tcp(DOOR, port, sequence, 1000)
        .ack(acknowledgment);
    if flags & flag::SYN != 0 {
        build = build.syn();
    }
    if flags & flag::RST != 0 {
        build = build.rst();
    }
    if flags & flag::FIN != 0 {
        build = build.fin();
    }
    let mut frame = Vec::new();
    build.write(&mut frame, payload).unwrap();
    frame
}

#[test]
fn a_client_connects_asks_and_reads_the_answer() {
    let guard = guard();
    let mut client = Client::new(61_500, door(&guard), 99, b"GET");
    let hear = |client: &mut Client, frame: &[u8]| {
        let arrived = Arrived::parse(frame).unwrap();
        client.handle(arrived.from, &arrived.what)
    };
    assert_eq!(client.segment(), Segment::syn(61_500, door(&guard), 99));
    assert_eq!(client.segment().flags, flag::SYN, "the same again");
    // Somebody who did not see the first segment does not know its number.
    assert!(!hear(&mut client, &back(&guard, 61_500, 500, 98, flag::SYN, b"")));
    assert!(!client.is_connected());
    assert!(hear(&mut client, &back(&guard, 61_500, 500, 100, flag::SYN, b"")));
    assert!(client.is_connected());
    let asking = client.segment();
    assert_eq!((asking.sequence, asking.acknowledgment, &asking.payload[..]), (100, 501, &b"GET"[..]));
    // A segment is out of order: the client waits for what is missing.
    hear(&mut client, &back(&guard, 61_500, 506, 103, 0, b"later"));
    assert_eq!(client.heard(), b"");
    hear(&mut client, &back(&guard, 61_500, 501, 103, 0, b"HTTP/"));
    hear(&mut client, &back(&guard, 61_500, 506, 103, flag::FIN, b"1.1"));
    assert_eq!(client.heard(), b"HTTP/1.1");
    assert!(client.is_over());
    let reset = client.reset();
    assert_eq!((reset.sequence, reset.flags & flag::RST), (103, flag::RST));

    let mut refused = Client::new(61_501, door(&guard), 1, b"");
    hear(&mut refused, &back(&guard, 61_501, 0, 2, flag::RST, b""));
    assert!(refused.is_refused() && !refused.is_connected());
    // However much a door sends, little of it is kept.
    let mut flooded = Client::new(61_502, door(&guard), 1, b"");
    hear(&mut flooded, &back(&guard, 61_502, 0, 2, flag::SYN, b""));
    hear(&mut flooded, &back(&guard, 61_502, 1, 2, 0, &[7; 60_000]));
    assert!(flooded.heard().len() <= 4096 && flooded.is_over());
}

#[test]
fn an_answer_is_recognized_by_the_port_that_asked() {
    let (guard, mut reply) = (guard(), Reply::default());
    let block = Block::by(3);
    let from = block.port(9);
    assert!(block.has(from) && !block.has(60_999) && !block.has(Block::by(4).port(0)));
    assert!((0..=u16::MAX).all(|random| Block::by(random).port(255) >= 61_440));
    let gateway = SocketAddrV4::new(guard.gateway(), 80);
    let syn = guard.tcp_frame(&Segment::syn(from, gateway, 1));
    assert!(block.sent(&syn));
    let Verdict::Refuse(_, Some(answer)) = guard.from_guest(&syn, &mut reply) else { panic!("a refusal") };
    let told = Arrived::parse(answer).unwrap();
    assert_eq!((told.from, told.port), (guard.gateway(), from));
    assert!(matches!(told.what, What::Tcp { from: 80, flags, .. } if flags & flag::RST != 0));

    let datagram = guard.udp_frame(from, gateway, b"x");
    let Verdict::Refuse(_, Some(answer)) = guard.from_guest(&datagram, &mut reply) else {
        panic!("a refusal")
    };
    let told = Arrived::parse(answer).unwrap();
    assert_eq!((told.port, told.what), (from, What::Unreachable { of: 80 }));

    for (name, records) in [("proxy.internal", true), ("example.com", false)] {
        let frame = guard.dns_frame(from, guard.gateway(), name, 1);
        let answer = match guard.from_guest(&frame, &mut reply) {
            Verdict::Answer(answer) | Verdict::Refuse(_, Some(answer)) => answer,
            other => panic!("{other:?}"),
        };
        let told = Arrived::parse(answer).unwrap();
        let What::Udp { from: 53, payload } = told.what else { panic!("{told:?}") };
        assert_eq!(gives_records(payload), records, "{name}");
    }
}

#[test]
fn neighbouring_ports_are_shown_as_one_range() {
    assert_eq!(ranges(&[]), "");
    assert_eq!(ranges(&[1, 2, 3, 9, 65_534, 65_535]), "1-3, 9, 65534-65535");
}
