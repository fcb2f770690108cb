//! Every port by hand: frames in bulk on the mounted socket, past the guest's own TCP.
//!
//! 65,535 connections one by one are a hundred thousand exits of the virtual machine, which guests
//! under emulation do not live through. The same frames in bulk are a few hundred.

use super::raw::{greeted, helpers, signal, unhex};
use super::{Answer, PATIENCE};
use bottle_core::wire::{self, Inbox};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

/// Where a TCP segment's fields are in an Ethernet frame without VLAN tag and IP options.
mod at {
    pub const SOURCE_PORT: usize = 34;
    pub const PORT: usize = 36;
    pub const FLAGS: usize = 47;
    pub const CHECKSUM: usize = 50;
}
const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;
/// Frames in one write.
const BULK: usize = 1024;

/// Sends this frame, a valid SYN, to every port from 1 to 65535, and counts what comes back.
pub fn sweep(socket: &str, template: &str) -> Answer {
    let helpers = helpers();
    signal(&helpers, Signal::STOP);
    let answer = match greeted(socket) {
        Ok(stream) => converse(&stream, &unhex(template)),
        Err(error) => Answer::failed(&error),
    };
    signal(&helpers, Signal::CONT);
    // The helper finds its connection closed, and comes back.
    thread::sleep(PATIENCE);
    answer
}

fn converse(stream: &UnixStream, template: &[u8]) -> Answer {
    let mut answer = Answer::default();
    if template.len() <= at::CHECKSUM + 1 {
        return Answer::failed(&"the template is no TCP frame");
    }
    let (mut heard, mut inbox) = (BTreeMap::new(), Inbox::default());
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    for bulk in ports.chunks(BULK) {
        let bytes: Vec<u8> = bulk.iter().flat_map(|port| framed(template, *port)).collect();
        if let Err(error) = (&*stream).write_all(&bytes) {
            answer.failed = 1;
            answer.error = error.to_string();
            break;
        }
        listen(stream, &mut inbox, &mut heard, bulk);
    }
    for port in 1..=u16::MAX {
        match heard.get(&port) {
            Some(flags) if flags & RST != 0 => answer.refused += 1,
            Some(&SYN_ACK) => answer.accepted.push(port),
            _ => answer.silent += 1,
        }
    }
    answer
}

/// The template to another port, its checksum made right (RFC 1624), with its length before it.
fn framed(template: &[u8], port: u16) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([template[at], template[at + 1]]);
    let sum = u32::from(!word(at::CHECKSUM)) + u32::from(!word(at::PORT)) + u32::from(port);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
    let mut frame = template.to_vec();
    frame[at::PORT..at::PORT + 2].copy_from_slice(&port.to_be_bytes());
    frame[at::CHECKSUM..at::CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    let header = wire::header(frame.len()).unwrap_or_default();
    [&header[..], &frame].concat()
}

/// Hears what comes back, its flags by the port that it came from, until each of these has
/// answered or there is silence. libkrun stalls where both directions are full, so one bulk is
/// heard before the next is sent.
fn listen(mut stream: &UnixStream, inbox: &mut Inbox, heard: &mut BTreeMap<u16, u8>, bulk: &[u16]) {
    while !bulk.iter().all(|port| heard.contains_key(port))
        && let Ok(read) = stream.read(inbox.room())
        && read > 0
    {
        inbox.arrived(read);
        while let Ok(Some(frame)) = inbox.frame() {
            if let (Some(&[high, low]), Some(&flags)) =
                (frame.get(at::SOURCE_PORT..).and_then(<[u8]>::first_chunk), frame.get(at::FLAGS))
            {
                heard.entry(u16::from_be_bytes([high, low])).or_insert(flags);
            }
        }
    }
}
