//! Streams: whatever is written, and however it is cut on the way, is read.

use bottle_core::guard::Refusal;
use bottle_core::report::{MAX_REPORT, Report};
use bottle_core::stream::{ChunkTooLong, Incoming, MAX_CHUNK, Next, OPENING_LEN, Opening, Outgoing};
use bottle_core::wire;
use proptest::prelude::*;

/// What a sender does: writes that are cut short by a transport that takes only so much at once.
fn send(writes: &[Vec<u8>], takes: &[usize], ends: bool) -> Vec<u8> {
    send_after(Outgoing::default(), writes, takes, ends)
}

fn send_after(mut outgoing: Outgoing, writes: &[Vec<u8>], takes: &[usize], ends: bool) -> Vec<u8> {
    let (mut wire, mut takes) = (Vec::new(), takes.iter().cycle());
    for bytes in writes {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let allowed = outgoing.announce(rest.len());
            let whole = [outgoing.head(), &rest[..allowed]].concat();
            let taken = (*takes.next().unwrap()).clamp(1, whole.len());
            wire.extend(&whole[..taken]);
            rest = &rest[outgoing.wrote(taken)..];
        }
    }
    if ends {
        assert!(outgoing.end());
        wire.extend(outgoing.head());
        outgoing.wrote(outgoing.head().len());
        assert!(outgoing.is_complete());
    }
    wire
}

/// What a receiver reads: everything before the end, and whether there is one.
fn receive(mut wire: &[u8], reads: &[usize]) -> Result<(Vec<u8>, bool), ChunkTooLong> {
    let (mut incoming, mut received, mut reads) = (Incoming::default(), Vec::new(), reads.iter().cycle());
    loop {
        let (len, is_head) = match incoming.next() {
            Next::Head(len) => (len, true),
            Next::Payload(len) => (len, false),
            Next::End => return Ok((received, true)),
        };
        let (now, later) = wire.split_at((*reads.next().unwrap()).clamp(1, len).min(wire.len()));
        if now.is_empty() {
            return Ok((received, false));
        }
        if is_head {
            incoming.head(now)?;
        } else {
            incoming.payload(now.len());
            received.extend(now);
        }
        wire = later;
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..8, 1_usize..100_000, Just(usize::MAX)], 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..8),
        takes in sizes(),
        reads in sizes(),
        ends in any::<bool>(),
    ) {
        let wire = send(&writes, &takes, ends);
        prop_assert_eq!(receive(&wire, &reads), Ok((writes.concat(), ends)));
        // Without its last byte nothing ends, and no byte is made up.
        if let Some((_, cut)) = wire.split_last() {
            let (received, ended) = receive(cut, &reads).unwrap();
            prop_assert!(!ended && writes.concat().starts_with(&received));
        }
    }

    /// Streams one after the other on one connection, each with its opening, are those that were sent.
    #[test]
    fn streams_follow_each_other_on_a_connection(
        streams in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4)), 0..5
        ),
        takes in sizes(),
        alone in any::<bool>(),
    ) {
        let mut wire = Vec::new();
        for (port, writes) in &streams {
            let mut outgoing = Outgoing::opening(Opening::from_bytes(port.to_be_bytes()));
            if alone {
                wire.extend(outgoing.head());
                outgoing.wrote(outgoing.head().len());
            }
            wire.extend(send_after(outgoing, writes, &takes, true));
        }
        let mut rest = &wire[..];
        for (port, writes) in &streams {
            let (opening, after) = rest.split_first_chunk::<OPENING_LEN>().unwrap();
            prop_assert_eq!(opening, &port.to_be_bytes());
            let len = send(writes, &takes, true).len();
            prop_assert_eq!(receive(&after[..len], &[usize::MAX]), Ok((writes.concat(), true)));
            rest = &after[len..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_within_a_chunk(wire in prop::collection::vec(any::<u8>(), 0..64), reads in sizes()) {
        let mut incoming = Incoming::default();
        let _ = receive(&wire, &reads);
        for byte in wire {
            match incoming.next() {
                Next::Head(len) => {
                    prop_assert!((1..=4).contains(&len));
                    if incoming.head(&[byte]).is_err() {
                        break;
                    }
                }
                Next::Payload(len) => {
                    prop_assert!((1..=MAX_CHUNK).contains(&len));
                    incoming.payload(len);
                }
                Next::End => break,
            }
        }
    }
}

#[test]
fn a_chunk_has_its_longest_length_and_no_more() {
    let long = vec![7; 2 * MAX_CHUNK + 1];
    let wire = send(std::slice::from_ref(&long), &[usize::MAX], true);
    assert_eq!(wire.len(), long.len() + 4 * 4);
    assert_eq!(receive(&wire, &[usize::MAX]), Ok((long, true)));
    let announced = u32::try_from(MAX_CHUNK).unwrap() + 1;
    for announced in [announced, u32::MAX] {
        let read = Incoming::default().head(&announced.to_be_bytes());
        assert_eq!(read, Err(ChunkTooLong(announced)));
    }
}

#[test]
fn nothing_ends_within_a_chunk_and_nothing_follows_an_end() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.announce(10), 10);
    assert!(!outgoing.end());
    outgoing.wrote(4 + 9);
    assert!(!outgoing.end());
    assert_eq!(outgoing.announce(100), 1, "the announced chunk is completed first");
    assert_eq!(outgoing.wrote(1), 1);
    assert!(outgoing.end() && !outgoing.is_complete());
    assert_eq!(outgoing.announce(10), 0);
    assert_eq!(outgoing.head(), [0; 4]);
    outgoing.wrote(4);
    assert!(outgoing.is_complete() && outgoing.head().is_empty());
}

#[test]
fn every_two_bytes_are_an_opening() {
    for number in 0..=u16::MAX {
        let bytes: [u8; OPENING_LEN] = number.to_be_bytes();
        let opening = Opening::from_bytes(bytes);
        assert_eq!(opening.to_bytes(), bytes);
        match opening {
            Opening::Reports => assert_eq!(number, 0),
            Opening::Door(port) => assert_eq!(port.get(), number),
        }
    }
}

#[test]
fn a_report_is_read_as_it_was_written_and_cut_where_it_is_long() {
    let mut buffer = [0; wire::HEADER_LEN + MAX_REPORT];
    for &refusal in Refusal::ALL {
        for frame in [&[][..], &[1, 2, 3], &[9; MAX_REPORT], &[9; 5_000]] {
            let written = Report { refusal, frame }.write(&mut buffer);
            let split = wire::split_frame(written).unwrap().unwrap();
            assert!(split.rest.is_empty());
            let read = Report::parse(split.frame).unwrap();
            assert_eq!((read.refusal, read.frame), (refusal, &frame[..frame.len().min(MAX_REPORT - 1)]));
        }
    }
    let unknown = u8::try_from(Refusal::ALL.len()).unwrap();
    assert_eq!(Report::parse(&[unknown, 1]), None);
    assert_eq!(Report::parse(&[]), None);
    assert_eq!(Report::parse(&[0; MAX_REPORT + 1]), None);
}
