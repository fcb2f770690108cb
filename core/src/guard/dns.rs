//! DNS for the only name there is, which the guard answers itself.
//!
//! gvproxy answers only type A from its own zones, compares names with their case, and asks the
//! host's resolver about everything else (`pkg/services/dns/dns.go`). So the guard passes no question
//! on: nothing can recurse, and a question's bytes reach nobody.

use super::ipv4::{Ipv4, Udp, unreachable};
use super::refusal::Refusal;
use super::reply::{MAX_DATAGRAM, Reply};
use crate::PROXY_NAME;
use alloc::string::String;
use core::net::Ipv4Addr;

const HEADER_LEN: usize = 12;
/// A name on the wire has at most 255 bytes (RFC 1035, 2.3.4); type and class follow.
const MAX_QUESTION: usize = 255 + 4;
const RECORD_LEN: usize = 16;
/// The longest message that is ever sent.
const MAX_ANSWER: usize = HEADER_LEN + MAX_QUESTION + RECORD_LEN;
const _: () = assert!(MAX_ANSWER == MAX_DATAGRAM);

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// How long the guest may keep the address. It never changes while the bottle runs.
const TTL_SECONDS: u32 = 60;

const FLAG_RESPONSE: u8 = 0x80;
const FLAG_AUTHORITATIVE: u8 = 0x04;
const MASK_OPCODE: u8 = 0x78;
const FLAG_RECURSION_DESIRED: u8 = 0x01;
const FLAG_RECURSION_AVAILABLE: u8 = 0x80;

#[derive(Clone, Copy)]
enum Rcode {
    NoError = 0,
    FormErr = 1,
    NxDomain = 3,
    NotImp = 4,
}

/// Answers one question, or refuses it with a reply that says so.
pub(super) fn answer(
    ip: &Ipv4<'_>,
    udp: &Udp<'_>,
    proxy: Ipv4Addr,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let Some((header, body)) = udp.payload.split_first_chunk::<HEADER_LEN>() else {
        reply.unreachable(ip, unreachable::PORT);
        return Err(Refusal::DnsMalformed);
    };
    let [_, _, flags, _, q0, q1, ..] = *header;
    if flags & FLAG_RESPONSE != 0 {
        return Err(Refusal::DnsMalformed);
    }
    let mut say = |rcode, question: &[u8], address: Option<Ipv4Addr>| {
        let (bytes, len) = message(header, rcode, question, address);
        reply.datagram(ip, udp, bytes.get(..len).unwrap_or_default());
    };
    if flags & MASK_OPCODE != 0 {
        say(Rcode::NotImp, &[], None);
        return Err(Refusal::DnsMalformed);
    }
    let question = (u16::from_be_bytes([q0, q1]) == 1).then(|| Question::parse(body)).flatten();
    let Some(question) = question else {
        say(Rcode::FormErr, &[], None);
        return Err(Refusal::DnsMalformed);
    };
    if !is_proxy_name(question.name) || question.class != CLASS_IN {
        say(Rcode::NxDomain, question.bytes, None);
        return Err(Refusal::DnsName);
    }
    match question.kind {
        TYPE_A => say(Rcode::NoError, question.bytes, Some(proxy)),
        TYPE_AAAA => say(Rcode::NoError, question.bytes, None),
        _ => {
            // "No such name" would take the address away, too (RFC 8020). So the name exists, without
            // this type.
            say(Rcode::NoError, question.bytes, None);
            return Err(Refusal::DnsType);
        }
    }
    Ok(())
}

struct Question<'q> {
    /// The name's labels, each after its length, without the root.
    name: &'q [u8],
    kind: u16,
    class: u16,
    /// The whole question, as the answer repeats it.
    bytes: &'q [u8],
}

impl<'q> Question<'q> {
    /// Reads a question. Its name has no compression pointer, as there is nothing before it to point at.
    fn parse(body: &'q [u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            let label = usize::from(*body.get(at)?);
            match label {
                0 => break,
                1..=63 => at += 1 + label,
                _ => return None,
            }
        }
        let end = at + 1 + 4;
        if end > MAX_QUESTION {
            return None;
        }
        let &[k0, k1, c0, c1] = body.get(at + 1..end)?.first_chunk()?;
        Some(Self {
            name: body.get(..at)?,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            bytes: body.get(..end)?,
        })
    }
}

/// Returns the name that a message asks about, for a log: its labels with dots between them, and a `?` for
/// anything but printable ASCII.
pub(super) fn question_name(payload: &[u8]) -> Option<String> {
    let question = Question::parse(payload.get(HEADER_LEN..)?)?;
    let mut rest = question.name;
    let mut name = String::new();
    while let Some((&len, tail)) = rest.split_first() {
        let (label, tail) = tail.split_at_checked(usize::from(len))?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }));
        rest = tail;
    }
    Some(name)
}

/// Returns whether the labels spell `proxy.internal`, in any case (RFC 4343).
fn is_proxy_name(labels: &[u8]) -> bool {
    let mut rest = labels;
    PROXY_NAME.split('.').all(|wanted| {
        let Some((&len, tail)) = rest.split_first() else { return false };
        let Some((label, tail)) = tail.split_at_checked(usize::from(len)) else { return false };
        rest = tail;
        label.eq_ignore_ascii_case(wanted.as_bytes())
    }) && rest.is_empty()
}

fn message(
    asked: &[u8; HEADER_LEN],
    rcode: Rcode,
    question: &[u8],
    address: Option<Ipv4Addr>,
) -> ([u8; MAX_ANSWER], usize) {
    let mut bytes = [0; MAX_ANSWER];
    bytes[0..2].copy_from_slice(&asked[0..2]);
    bytes[2] = FLAG_RESPONSE | FLAG_AUTHORITATIVE | (asked[2] & (MASK_OPCODE | FLAG_RECURSION_DESIRED));
    bytes[3] = FLAG_RECURSION_AVAILABLE | rcode as u8;
    bytes[5] = u8::from(!question.is_empty());
    bytes[7] = u8::from(address.is_some());
    let end = HEADER_LEN + question.len();
    bytes[HEADER_LEN..end].copy_from_slice(question);
    let Some(address) = address else { return (bytes, end) };
    let record = &mut bytes[end..end + RECORD_LEN];
    // The record's name is a pointer to the question's.
    record[0..2].copy_from_slice(&[0xc0, 12]);
    record[2..4].copy_from_slice(&TYPE_A.to_be_bytes());
    record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    record[6..10].copy_from_slice(&TTL_SECONDS.to_be_bytes());
    record[10..12].copy_from_slice(&4u16.to_be_bytes());
    record[12..16].copy_from_slice(&address.octets());
    (bytes, end + RECORD_LEN)
}
