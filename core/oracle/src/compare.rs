//! Compares the guard with the policy.

use crate::policy::{Bottle, Fate};
use bottle_core::guard::{Guard, Reply, Verdict};
use bottle_core::subnet::Subnet;
use etherparse::{LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};

/// The longest reply that the guard may make, in bytes.
pub const LONGEST_REPLY: usize = 342;

/// Makes the same bottle for both sides.
pub fn both(subnet: Subnet, doors: &[u16]) -> (Guard, Bottle) {
    let guard = Guard::new(subnet, &doors.iter().copied().collect());
    let (gateway, guest, proxy) = (subnet.gateway(), subnet.guest(), subnet.proxy());
    (guard, Bottle { gateway, guest, proxy, doors: doors.to_vec() })
}

/// Asks the guard and the policy about a frame from the guest.
///
/// # Panics
/// Panics if they disagree, or a reply is wrong.
pub fn from_guest(guard: &Guard, bottle: &Bottle, frame: &[u8]) {
    let mut room = Reply::default();
    let (fate, verdict) = (bottle.from_guest(frame), guard.from_guest(frame, &mut room));
    let agree = match (fate, &verdict) {
        (Fate::Pass, Verdict::Forward) | (Fate::Answer, Verdict::Answer(_)) => true,
        (Fate::RefuseAloud, Verdict::Refuse(_, reply)) => reply.is_some(),
        (Fate::Refuse, Verdict::Refuse(..)) => true,
        _ => false,
    };
    assert!(agree, "the policy says {fate:?}, the guard {verdict:?}, of {frame:02x?}");
    if let Verdict::Answer(reply) | Verdict::Refuse(_, Some(reply)) = verdict {
        judge_reply(bottle, frame, reply);
        assert_eq!(guard.to_guest(reply).is_ok(), is_door_reset(bottle, reply), "a reply looks like traffic");
    }
}

/// Asks the guard and the policy about a frame to the guest.
///
/// # Panics
/// Panics if they disagree.
pub fn to_guest(guard: &Guard, bottle: &Bottle, frame: &[u8]) {
    let (may, verdict) = (bottle.to_guest(frame), guard.to_guest(frame));
    assert_eq!(may, verdict.is_ok(), "the guard says {verdict:?} of {frame:02x?}");
}

fn is_door_reset(bottle: &Bottle, reply: &[u8]) -> bool {
    bottle.to_guest(reply)
}

/// Checks that a reply is a valid packet, goes back to the guest that asked, comes from the address that it
/// asked, is small, and does not answer a reply.
fn judge_reply(bottle: &Bottle, frame: &[u8], reply: &[u8]) {
    assert!(reply.len() <= LONGEST_REPLY, "{} bytes", reply.len());
    // The content of an unknown protocol does not have to make sense to be refused.
    let asked = LaxSlicedPacket::from_ethernet(frame).expect("the guard answers only what can be read");
    let said = SlicedPacket::from_ethernet(reply).expect("a reply is a valid packet");
    let (Some(LaxNetSlice::Ipv4(asked_ip)), Some(NetSlice::Ipv4(ip))) = (&asked.net, &said.net) else {
        panic!("a reply is IPv4: {reply:02x?}")
    };
    let header = ip.header();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    assert_eq!(header.destination_addr(), bottle.guest);
    assert_eq!(header.source_addr(), asked_ip.header().destination_addr());
    let speaker = header.source_addr();
    let many =
        speaker.is_multicast() || speaker.is_broadcast() || matches!(speaker.octets()[0], 0 | 240..=255);
    assert!(!many, "nobody speaks for {speaker}");
    assert_eq!(reply[0..6], frame[6..12], "it goes back where the frame came from");
    assert_eq!(usize::from(header.total_len()) + 14, reply.len());
    let pseudo = header.to_header();
    match (asked.transport, said.transport) {
        (Some(TransportSlice::Tcp(question)), Some(TransportSlice::Tcp(answer))) => {
            assert!(answer.rst() && !question.rst(), "only a reset answers, and never another reset");
            assert_eq!(answer.source_port(), question.destination_port());
            assert_eq!(answer.destination_port(), question.source_port());
            if question.ack() {
                assert_eq!(
                    (answer.sequence_number(), answer.ack()),
                    (question.acknowledgment_number(), false)
                );
            } else {
                let taken =
                    question.payload().len() + usize::from(question.syn()) + usize::from(question.fin());
                let taken = u32::try_from(taken).expect("a segment is short");
                let expected = question.sequence_number().wrapping_add(taken);
                assert_eq!((answer.acknowledgment_number(), answer.ack()), (expected, true));
            }
            let sum = answer.to_header().calc_checksum_ipv4(&pseudo, answer.payload());
            assert_eq!(sum.expect("short"), answer.checksum());
        }
        (Some(TransportSlice::Udp(question)), Some(TransportSlice::Udp(answer))) => {
            assert_eq!(answer.source_port(), question.destination_port());
            assert_eq!(answer.destination_port(), question.source_port());
            let sum = answer.to_header().calc_checksum_ipv4(&pseudo, answer.payload());
            assert_eq!(sum.expect("short"), answer.checksum());
            judge_dns(question.payload(), answer.payload());
        }
        (_, Some(TransportSlice::Icmpv4(answer))) => {
            let bytes = answer.slice();
            assert_eq!(bytes[0], 3, "only \"destination unreachable\"");
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(bytes).ones_complement();
            assert_eq!(sum, 0, "its checksum is right");
            assert_eq!(bytes[8..28], frame[14..34], "it quotes the refused packet's header");
        }
        (asked, said) => panic!("{asked:?} was answered with {said:?}"),
    }
}

fn judge_dns(question: &[u8], answer: &[u8]) {
    assert_eq!(answer[..2], question[..2], "the same id");
    assert_eq!(answer[2] & 0x80, 0x80, "it is an answer");
    assert_eq!(question[2] & 0x80, 0, "to a question");
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    let code = answer[3] & 0x0f;
    // RFC 1035, 4.1.1: an authoritative answer, with the question's opcode and its recursion bit.
    assert_eq!(answer[2], 0x84 | (question[2] & 0x79));
    assert_eq!(answer[3] & 0xf0, 0x80, "recursion is available, and nothing else is set");
    assert_eq!(
        answer[4..6],
        [0, u8::from(answer.len() > 12)],
        "the question comes back, if it could be read"
    );
    assert!(answers == 0 || code == 0, "an error carries no address");
    assert_eq!((&answer[8..12], answer.len() < 12), (&[0u8; 4][..], false));
}
