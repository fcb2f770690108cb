//! What is written to a tap: the same frame, except for a checksum that a kernel may complete.

use bottle_core::offload::{HEADER_LEN, Outgoing};
use etherparse::PacketBuilder;
use proptest::prelude::*;

const TCP_CHECKSUM: usize = 14 + 20 + 16;

fn written(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let all = Outgoing::new(frame).parts().concat();
    (all[..HEADER_LEN].to_vec(), all[HEADER_LEN..].to_vec())
}

/// Completes an open checksum as Linux does before it sends a packet on (`skb_checksum_help`): it writes the
/// inverted sum from `csum_start` to the end, including the field itself, at `csum_offset` from there.
fn finished(header: &[u8], mut frame: Vec<u8>) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let (start, at) = (word(6), word(6) + word(8));
    let mut sum: u64 = frame[start..]
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn tcp(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), options: bool, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4(source, destination, 64)
        .tcp(ports.0, ports.1, 7, 1024)
        .ack(9);
    let builder = if options {
        builder.options(&[etherparse::TcpOptionElement::Timestamp(3, 4)]).unwrap()
    } else {
        builder
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was in the checksum's place, a kernel computes the right checksum from what is written.
    #[test]
    fn a_kernel_can_complete_an_open_checksum(
        source: [u8; 4],
        destination: [u8; 4],
        ports: (u16, u16),
        options: bool,
        payload in prop::collection::vec(any::<u8>(), 0..300),
        garbage: [u8; 2],
    ) {
        let right = tcp(source, destination, ports, options, &payload);
        let mut frame = right.clone();
        frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&garbage);
        let (header, written) = written(&frame);
        prop_assert_eq!(header[0], 1);
        prop_assert_eq!(finished(&header, written), right);
    }

    /// Only a whole TCP segment over plain IPv4 changes, and only its checksum.
    #[test]
    fn nothing_but_the_checksum_changes(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind: bool) {
        if kind && frame.len() > 24 {
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = 6;
        }
        let (header, mut written) = written(&frame);
        if header[0] == 0 {
            prop_assert_eq!(header, vec![0; HEADER_LEN]);
        } else {
            prop_assert!(kind && frame.len() >= 54);
            written[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&frame[TCP_CHECKSUM..TCP_CHECKSUM + 2]);
        }
        prop_assert_eq!(written, frame);
    }
}

#[test]
fn only_a_whole_segments_checksum_is_left_open() {
    let frame = tcp([10, 0, 0, 1], [10, 0, 0, 2], (1, 2), false, b"payload");
    assert_eq!(written(&frame).0, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0].map(|byte: u8| byte).to_vec());
    // A field, what is written there, and what the frame becomes by that.
    for (at, byte, what) in [
        (12, 0x86, "another protocol"),
        (14, 0x46, "options"),
        (14, 0x65, "another version"),
        (20, 0x20, "the first of more fragments"),
        (21, 0x01, "a later fragment"),
        (23, 17, "UDP"),
        (16, 0, "a length of less than the two headers"),
    ] {
        let mut other = frame.clone();
        other[at] = byte;
        if at == 16 {
            other[17] = 39;
        }
        assert_eq!(written(&other), (vec![0; HEADER_LEN], other), "{what}");
    }
    let cut = &frame[..53];
    assert_eq!(written(cut), (vec![0; HEADER_LEN], cut.to_vec()));
    // "Do not fragment" does not make a fragment.
    let mut whole = frame;
    whole[20] = 0x40;
    assert_eq!(written(&whole).0[0], 1);
}
