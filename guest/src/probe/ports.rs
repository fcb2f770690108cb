//! Tries every port with frames sent in bulk on the mounted socket, past the guest's own stack.
//!
//! 65,535 separate connections cause a hundred thousand exits of the virtual machine, which guests under
//! emulation do not survive. The same frames in bulk cause a few hundred.

use super::outcome::{PATIENCE, shown};
use super::protocol::Answer;
use super::raw::{greeted, helpers, signal, unhex};
use super::sweep::AGAIN;
use bottle_core::wire::{self, Inbox};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

/// The offsets of fields in an Ethernet frame without a VLAN tag or IP options.
mod at {
    pub const PROTOCOL: usize = 23;
    pub const SOURCE_PORT: usize = 34;
    pub const PORT: usize = 36;
    pub const TCP_FLAGS: usize = 47;
    pub const TCP_CHECKSUM: usize = 50;
    pub const UDP_PAYLOAD: usize = 42;
    pub const ICMP_TYPE: usize = 34;
    /// The port of the datagram quoted in an ICMP error.
    pub const QUOTED_PORT: usize = 64;
}
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UNREACHABLE: u8 = 3;
const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;
/// How many frames go into one write.
const BULK: usize = 1024;

/// What came back from a port.
enum Heard {
    Refused,
    Accepted,
    Said(String),
    Noise,
}

/// Sends this frame, a valid SYN or a datagram without a checksum, to every port from 1 to 65535, and counts
/// what comes back.
pub fn sweep(socket: &str, template: &str) -> Answer {
    let helpers = helpers();
    signal(&helpers, Signal::STOP);
    let answer = match greeted(socket) {
        Ok(stream) => converse(&stream, &unhex(template)),
        Err(error) => Answer::failed(&error),
    };
    signal(&helpers, Signal::CONT);
    // The helper finds its connection closed and connects again.
    thread::sleep(PATIENCE);
    answer
}

fn converse(stream: &UnixStream, template: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let least = match template.get(at::PROTOCOL) {
        Some(&TCP) => at::TCP_CHECKSUM + 2,
        Some(&UDP) => at::UDP_PAYLOAD,
        _ => usize::MAX,
    };
    if template.len() < least {
        return Answer::failed(&"the template is neither a TCP nor a UDP frame");
    }
    let (mut heard, mut inbox) = (BTreeMap::new(), Inbox::default());
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    let mut ask = |ports: &[u16], heard: &mut BTreeMap<u16, Heard>| {
        for bulk in ports.chunks(BULK) {
            let bytes: Vec<u8> = bulk.iter().flat_map(|port| framed(template, *port)).collect();
            (&*stream).write_all(&bytes)?;
            listen(stream, &mut inbox, heard, bulk);
        }
        Ok(())
    };
    let asked: io::Result<()> = ask(&ports, &mut heard).and_then(|()| {
        let silent: Vec<u16> = ports.iter().copied().filter(|port| !heard.contains_key(port)).collect();
        // As with connections: what a busy machine kept too long is asked for once more.
        if silent.len() <= AGAIN { ask(&silent, &mut heard) } else { Ok(()) }
    });
    if let Err(error) = asked {
        answer.failed = 1;
        answer.error = error.to_string();
    }
    for port in 1..=u16::MAX {
        match heard.remove(&port) {
            Some(Heard::Refused) => answer.refused += 1,
            Some(Heard::Accepted) => answer.accepted.push(port),
            Some(Heard::Said(said)) => answer.said.push((port, said)),
            Some(Heard::Noise) | None => answer.silent += 1,
        }
    }
    answer
}

/// Returns the template for another port, with its checksum corrected (RFC 1624) and its length in front.
fn framed(template: &[u8], port: u16) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([template[at], template[at + 1]]);
    let mut frame = template.to_vec();
    frame[at::PORT..at::PORT + 2].copy_from_slice(&port.to_be_bytes());
    if template[at::PROTOCOL] == TCP {
        let sum = u32::from(!word(at::TCP_CHECKSUM)) + u32::from(!word(at::PORT)) + u32::from(port);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
        frame[at::TCP_CHECKSUM..at::TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let header = wire::header(frame.len()).unwrap_or_default();
    [&header[..], &frame].concat()
}

/// Reads what comes back, sorted by the port that it is about, until every port in the bulk has answered or
/// there is silence. libkrun stalls if both directions are full, so the answers to one bulk are read before
/// the next one is sent.
fn listen(mut stream: &UnixStream, inbox: &mut Inbox, heard: &mut BTreeMap<u16, Heard>, bulk: &[u16]) {
    while !bulk.iter().all(|port| heard.contains_key(port))
        && let Ok(read) = stream.read(inbox.room())
        && read > 0
    {
        inbox.arrived(read);
        while let Ok(Some(frame)) = inbox.frame() {
            if let Some((port, what)) = understood(frame) {
                heard.entry(port).or_insert(what);
            }
        }
    }
}

fn understood(frame: &[u8]) -> Option<(u16, Heard)> {
    let word = |at: usize| frame.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    match *frame.get(at::PROTOCOL)? {
        TCP => {
            let what = match *frame.get(at::TCP_FLAGS)? {
                SYN_ACK => Heard::Accepted,
                flags if flags & RST != 0 => Heard::Refused,
                _ => Heard::Noise,
            };
            Some((word(at::SOURCE_PORT)?, what))
        }
        UDP => Some((word(at::SOURCE_PORT)?, Heard::Said(shown(frame.get(at::UDP_PAYLOAD..)?)))),
        ICMP if *frame.get(at::ICMP_TYPE)? == UNREACHABLE => Some((word(at::QUOTED_PORT)?, Heard::Refused)),
        _ => None,
    }
}
