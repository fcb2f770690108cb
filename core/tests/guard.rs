//! Compares the guard with the policy oracle, which reads frames with another parser.

use bottle_core::guard::FirstPacket;
use bottle_core::guard::{Refusal, Reply, Verdict};
use bottle_core::subnet::Subnet;
use bottle_oracle::compare;
use bottle_oracle::frames::{self, Change};
use bottle_oracle::policy::Fate;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const DOORS: [u16; 2] = [20_123, 29_999];

fn subnet() -> Subnet {
    Subnet::try_from(42).unwrap()
}

fn change() -> impl Strategy<Value = Change> {
    // Headers are at the start, where a change matters.
    let place = || prop_oneof![8 => 0usize..80, 1 => 0usize..70_000];
    let telling =
        prop_oneof![Just(0u16), Just(1), Just(53), Just(80), Just(DOORS[0]), Just(0xffff), any::<u16>()];
    let tag = prop_oneof![
        Just(vec![0x81, 0x00, 0x00, 0x05]),
        Just(vec![0x88, 0xa8, 0x00, 0x05]),
        Just(vec![0x01, 0x01, 0x01, 0x00]),
        Just(vec![0xc0, 0x0c]),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(at, value)| Change::Byte(at, value)),
        3 => (place(), telling).prop_map(|(at, value)| Change::Word(at, value)),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => (0usize..100).prop_map(Change::Pad),
        1 => (place(), tag).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        4 => Just(Change::Checksum),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a valid frame is changed, the guard and the policy agree about it.
    #[test]
    fn the_guard_and_the_policy_agree_on_changed_frames(
        octet in (1u8..=254).prop_filter("docker's", |&n| n != 17),
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        let (guard, bottle) = compare::both(Subnet::try_from(octet).unwrap(), &DOORS);
        for (all, inwards) in [(frames::from_guest(&guard, &bottle), false), (frames::to_guest(&bottle), true)] {
            let mut frame = which.get(&all).clone();
            for change in &changes {
                change.apply(&mut frame);
            }
            if inwards {
                compare::to_guest(&guard, &bottle, &frame);
            } else {
                compare::from_guest(&guard, &bottle, &frame);
            }
        }
    }

    /// They agree about noise, too.
    #[test]
    fn the_guard_and_the_policy_agree_on_noise(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
        let (guard, bottle) = compare::both(subnet(), &DOORS);
        compare::from_guest(&guard, &bottle, &frame);
        compare::to_guest(&guard, &bottle, &frame);
    }
}

/// Changes every byte of every valid frame to the most telling values, and tries every length.
#[test]
fn the_guard_and_the_policy_agree_on_every_single_change() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    for frame in frames::from_guest(&guard, &bottle) {
        for at in 0..frame.len().min(120) {
            for bit in 0..8 {
                for fix in [false, true] {
                    let mut changed = frame.clone();
                    changed[at] ^= 1 << bit;
                    if fix {
                        Change::Checksum.apply(&mut changed);
                    }
                    compare::from_guest(&guard, &bottle, &changed);
                }
            }
        }
        for len in 0..=frame.len().min(200) {
            compare::from_guest(&guard, &bottle, &frame[..len]);
        }
        for more in 0..80 {
            let mut padded = frame.clone();
            padded.resize(frame.len() + more, 0);
            compare::from_guest(&guard, &bottle, &padded);
        }
    }
    for frame in frames::to_guest(&bottle) {
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                compare::to_guest(&guard, &bottle, &changed);
                Change::Checksum.apply(&mut changed);
                compare::to_guest(&guard, &bottle, &changed);
            }
        }
    }
}

/// Beside the refusals, this shows that what must pass does pass.
#[test]
fn everything_that_the_policy_allows_passes() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let passing = [
        FirstPacket::Arp(bottle.gateway),
        FirstPacket::Arp(bottle.proxy),
        FirstPacket::Tcp(bottle.proxy, DOORS[0]),
        FirstPacket::Tcp(bottle.proxy, DOORS[1]),
    ];
    for packet in passing {
        assert_eq!(guard.on_first_packet(&packet, &mut Reply::default()), Verdict::Forward, "{packet:?}");
    }
    let mut room = Reply::default();
    let Verdict::Answer(reply) =
        guard.on_first_packet(&FirstPacket::Resolve("proxy.internal".to_owned()), &mut room)
    else {
        panic!("proxy.internal resolves")
    };
    assert_eq!(reply[reply.len() - 4..], bottle.proxy.octets());
    assert!(frames::to_guest(&bottle).iter().any(|frame| guard.to_guest(frame).is_ok()));
}

/// Tries every port, over TCP and UDP, at every address that could matter.
#[test]
fn of_all_ports_exactly_the_doors_are_open() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let addresses = [
        bottle.proxy,
        bottle.gateway,
        bottle.guest,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(192, 0, 2, 1),
        Ipv4Addr::new(192, 168, 42, 255),
        Ipv4Addr::BROADCAST,
    ];
    let mut room = Reply::default();
    for address in addresses {
        for port in 0..=u16::MAX {
            let open = address == bottle.proxy && DOORS.contains(&port);
            let verdict = guard.on_first_packet(&FirstPacket::Tcp(address, port), &mut room);
            assert_eq!(verdict == Verdict::Forward, open, "tcp {address}:{port}");
            let verdict = guard.on_first_packet(&FirstPacket::Udp(address, port), &mut room);
            assert!(matches!(verdict, Verdict::Refuse(..)), "udp {address}:{port}");
        }
    }
}

/// Over all ports a checksum takes every value, including those whose carry causes another carry.
#[test]
fn a_reply_has_a_valid_checksum_whatever_the_sum() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    for port in 0..=u16::MAX {
        compare::from_guest(&guard, &bottle, &guard.frame(&FirstPacket::Tcp(bottle.proxy, port)));
    }
}

/// Tries every EtherType and every IP protocol.
#[test]
fn of_all_ethertypes_and_protocols_only_arp_and_tcp_pass() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let base = guard.frame(&FirstPacket::Tcp(bottle.proxy, DOORS[0]));
    for kind in 0..=u16::MAX {
        let mut frame = base.clone();
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        compare::from_guest(&guard, &bottle, &frame);
        let passes = guard.from_guest(&frame, &mut Reply::default()) == Verdict::Forward;
        assert_eq!(passes, kind == 0x0800, "{kind:#06x}");
    }
    for protocol in 0..=u8::MAX {
        let mut frame = base.clone();
        frame[23] = protocol;
        Change::Checksum.apply(&mut frame);
        compare::from_guest(&guard, &bottle, &frame);
        let passes = guard.from_guest(&frame, &mut Reply::default()) == Verdict::Forward;
        assert_eq!(passes, protocol == 6, "{protocol}");
    }
}

/// Tries every IPv4 destination address. A debug build takes hours for this: use `make exhaustive`.
#[test]
#[ignore = "four billion addresses: run `make exhaustive`"]
fn exactly_one_address_is_open_of_all_ipv4() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let mut frame = guard.frame(&FirstPacket::Tcp(bottle.proxy, DOORS[0]));
    // The checksum is a sum, so what the address adds is subtracted from it.
    let rest = u32::from(bottle.proxy) / 0x1_0000 + u32::from(bottle.proxy) % 0x1_0000;
    let sum = u32::from(!u16::from_be_bytes([frame[24], frame[25]])) + 0xffff * 2 - rest;
    let mut room = Reply::default();
    let mut open = 0u64;
    for address in 0..=u32::MAX {
        frame[30..34].copy_from_slice(&address.to_be_bytes());
        let mut total = sum + (address >> 16) + (address & 0xffff);
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        frame[24..26].copy_from_slice(&(!u16::try_from(total).unwrap()).to_be_bytes());
        let verdict = guard.from_guest(&frame, &mut room);
        assert!(!matches!(verdict, Verdict::Refuse(Refusal::Ipv4Checksum, _)), "{address:#x}");
        if verdict == Verdict::Forward {
            assert_eq!(Ipv4Addr::from(address), bottle.proxy);
            open += 1;
        }
    }
    assert_eq!(open, 1);
}

/// For each reason there is a frame that is refused for it, so the log can say all that it claims to.
#[test]
fn every_refusal_has_a_frame_that_causes_it() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let door = guard.frame(&FirstPacket::Tcp(bottle.proxy, DOORS[0]));
    let dns = guard.frame(&FirstPacket::Resolve("proxy.internal".to_owned()));
    let arp = guard.frame(&FirstPacket::Arp(bottle.gateway));
    let with = |frame: &[u8], changes: &[Change]| {
        let mut frame = frame.to_vec();
        changes.iter().for_each(|change| change.apply(&mut frame));
        frame
    };
    let sum = Change::Checksum;
    let cases: Vec<(Refusal, Vec<u8>)> = vec![
        (Refusal::Truncated, with(&door, &[Change::Cut(40)])),
        (Refusal::TooLong, vec![0; 65_015]),
        (Refusal::Trailer, with(&door, &[Change::Pad(20)])),
        (Refusal::SourceMac, with(&door, &[Change::Byte(11, 0)])),
        (Refusal::DestinationMac, with(&door, &[Change::Byte(5, 0)])),
        (Refusal::Broadcast, with(&door, &[Change::Byte(0, 0xff)])),
        (Refusal::EtherType, with(&door, &[Change::Word(12, 0x88cc)])),
        (Refusal::Vlan, with(&door, &[Change::Word(12, 0x8100)])),
        (Refusal::Ipv6, with(&door, &[Change::Word(12, 0x86dd)])),
        (Refusal::ArpMalformed, with(&arp, &[Change::Byte(15, 6)])),
        (Refusal::ArpSender, with(&arp, &[Change::Byte(31, 9)])),
        (Refusal::ArpTarget, with(&arp, &[Change::Byte(41, 9)])),
        (Refusal::Ipv4Malformed, with(&door, &[Change::Byte(14, 0x65)])),
        (Refusal::Ipv4Checksum, with(&door, &[Change::Byte(24, 0x12)])),
        (Refusal::Ipv4Options, with(&door, &[Change::Byte(14, 0x46)])),
        (Refusal::Fragment, with(&door, &[Change::Word(20, 0x2000), sum.clone()])),
        (Refusal::SourceAddress, with(&door, &[Change::Byte(29, 9), sum.clone()])),
        (Refusal::Icmp, guard.frame(&FirstPacket::Ping(bottle.gateway))),
        (Refusal::Protocol, with(&door, &[Change::Byte(23, 132), sum.clone()])),
        (Refusal::TcpMalformed, with(&door, &[Change::Byte(46, 0x40)])),
        (Refusal::TcpAddress, guard.frame(&FirstPacket::Tcp(bottle.gateway, DOORS[0]))),
        (Refusal::TcpPort, guard.frame(&FirstPacket::Tcp(bottle.proxy, 80))),
        (Refusal::UdpMalformed, with(&dns, &[Change::Word(38, 9)])),
        (Refusal::Dhcp, guard.frame(&FirstPacket::Udp(bottle.gateway, 67))),
        (Refusal::Udp, guard.frame(&FirstPacket::Udp(bottle.gateway, 123))),
        (Refusal::DnsMalformed, with(&dns, &[Change::Word(46, 2)])),
        (Refusal::DnsName, guard.frame(&FirstPacket::Resolve("example.com".to_owned()))),
        (Refusal::DnsType, with(&dns, &[Change::Word(dns.len() - 4, 16)])),
    ];
    for (reason, frame) in &cases {
        let mut room = Reply::default();
        let verdict = guard.from_guest(frame, &mut room);
        assert!(matches!(verdict, Verdict::Refuse(said, _) if said == *reason), "{reason:?}: {verdict:?}");
        assert_ne!(bottle.from_guest(frame), Fate::Pass);
    }
    let named: Vec<Refusal> = cases.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(named, Refusal::ALL, "there is no frame for one of the reasons");
}

/// What follows the question does not change the answer, and nothing leaks into it.
#[test]
fn a_question_with_edns_and_mixed_case_is_answered() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let mut frame = guard.frame(&FirstPacket::Resolve("PrOxY.iNtErNaL".to_owned()));
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    frame[53] = 1;
    frame.extend(opt);
    for at in [16, 38] {
        let len = u16::from_be_bytes([frame[at], frame[at + 1]]) + 11;
        frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
    Change::Checksum.apply(&mut frame);
    compare::from_guest(&guard, &bottle, &frame);
    let mut room = Reply::default();
    let Verdict::Answer(reply) = guard.from_guest(&frame, &mut room) else { panic!("it is answered") };
    let name = b"\x05PrOxY\x08iNtErNaL\x00";
    assert_eq!(reply[54..54 + name.len()], *name, "the question comes back as it was asked");
    assert_eq!(reply[reply.len() - 4..], bottle.proxy.octets());
}

/// Checks numbers that other parts rely on, and the ends of ranges.
#[test]
fn the_longest_frame_name_and_reply_fit() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let mut longest = guard.frame(&FirstPacket::Tcp(bottle.proxy, DOORS[0]));
    let len = longest.len();
    longest.resize(bottle_core::wire::MAX_FRAME, 0);
    let total = u16::try_from(bottle_core::wire::MAX_FRAME - 14).unwrap();
    longest[16..18].copy_from_slice(&total.to_be_bytes());
    Change::Checksum.apply(&mut longest);
    assert!(longest.len() > len);
    assert_eq!(guard.from_guest(&longest, &mut Reply::default()), Verdict::Forward);
    longest.push(0);
    let mut room = Reply::default();
    assert!(matches!(guard.from_guest(&longest, &mut room), Verdict::Refuse(Refusal::TooLong, None)));

    // 255 bytes on the wire: three labels of 63, one of 61, and the root.
    let label = "x".repeat(63);
    let name = |last: usize| format!("{label}.{label}.{label}.{}", "y".repeat(last));
    let ask = |last: usize| guard.frame(&FirstPacket::Resolve(name(last)));
    let mut room = Reply::default();
    let Verdict::Refuse(Refusal::DnsName, Some(reply)) = guard.from_guest(&ask(61), &mut room) else {
        panic!("the longest name is a name")
    };
    assert_eq!(reply.len(), 14 + 20 + 8 + 12 + 255 + 4);
    let mut room = Reply::default();
    let said = guard.from_guest(&ask(62), &mut room);
    assert!(matches!(said, Verdict::Refuse(Refusal::DnsMalformed, _)), "{said:?}");
    assert_eq!(Reply::MAX, 14 + 20 + 8 + 12 + 255 + 4 + 16);
}

#[test]
fn an_answer_without_an_address_leaves_nothing_for_the_next_frame() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let mut aaaa = guard.frame(&FirstPacket::Resolve("proxy.internal".to_owned()));
    let at = aaaa.len() - 4;
    aaaa[at..at + 2].copy_from_slice(&28_u16.to_be_bytes());
    let mut room = Reply::default();
    let Verdict::Answer(reply) = guard.from_guest(&aaaa, &mut room) else { panic!("AAAA is answered") };
    assert_eq!(reply[48..50], [0, 0], "with no address");

    // All frames share one room: the reply to one is not the reply to the next.
    assert!(matches!(
        guard.from_guest(&guard.frame(&FirstPacket::Tcp(bottle.proxy, 80)), &mut room),
        Verdict::Refuse(Refusal::TcpPort, Some(_))
    ));
    assert!(matches!(guard.from_guest(&[0; 20], &mut room), Verdict::Refuse(_, None)));
}

#[test]
fn broadcasts_and_errors_get_no_answer() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let everybody = |port: u16| {
        let mut frame = guard.frame(&FirstPacket::Udp(Ipv4Addr::BROADCAST, port));
        frame[0..6].copy_from_slice(&[0xff; 6]);
        frame
    };
    let mut room = Reply::default();
    for (port, reason) in [(67, Refusal::Dhcp), (68, Refusal::Dhcp), (5353, Refusal::Broadcast)] {
        let said = guard.from_guest(&everybody(port), &mut room);
        assert!(matches!(said, Verdict::Refuse(why, None) if why == reason), "{port}: {said:?}");
    }
    let ping = guard.frame(&FirstPacket::Ping(bottle.proxy));
    assert!(matches!(guard.from_guest(&ping, &mut room), Verdict::Refuse(Refusal::Icmp, Some(_))));
    let mut unreachable = ping.clone();
    unreachable[34] = 3;
    assert!(matches!(guard.from_guest(&unreachable, &mut room), Verdict::Refuse(Refusal::Icmp, None)));
}

#[test]
fn every_reason_to_drop_a_frame_to_the_guest_is_reported() {
    let (guard, bottle) = compare::both(subnet(), &DOORS);
    let frames = frames::to_guest(&bottle);
    let kind = |protocol: u8, port: u16| {
        let fits = |frame: &&Vec<u8>| {
            frame[12..14] == [8, 0]
                && frame[23] == protocol
                && frame[26..30] == bottle.proxy.octets()
                && (protocol == 1 || frame[34..36] == port.to_be_bytes())
        };
        frames.iter().find(fits).expect("a frame of that kind").clone()
    };
    let open = kind(6, DOORS[0]);
    assert_eq!(guard.to_guest(&open), Ok(()));
    let mut elsewhere = open.clone();
    elsewhere[5] ^= 1;
    let mut other = open.clone();
    other[23] = 132;
    Change::Checksum.apply(&mut other);
    let mut to_all = open.clone();
    to_all[0..6].copy_from_slice(&[0xff; 6]);
    let from = |address: Ipv4Addr| {
        let mut frame = open.clone();
        frame[26..30].copy_from_slice(&address.octets());
        Change::Checksum.apply(&mut frame);
        frame
    };
    for (frame, reason) in [
        (from(bottle.gateway), Refusal::TcpAddress),
        (from([192, 0, 2, 1].into()), Refusal::SourceAddress),
        (kind(6, 80), Refusal::TcpPort),
        (kind(17, DOORS[0]), Refusal::Udp),
        (kind(1, 0), Refusal::Icmp),
        (elsewhere, Refusal::DestinationMac),
        (to_all, Refusal::Broadcast),
        (other, Refusal::Protocol),
    ] {
        assert_eq!(guard.to_guest(&frame), Err(reason));
    }
}
