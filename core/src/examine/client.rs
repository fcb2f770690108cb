//! A TCP client of a few lines, for one request and the beginning of one answer.
//!
//! It does no I/O: the caller asks it for the segment to send and tells it what arrived. Asked twice, it
//! gives the same segment again. It reads what comes in order and asks for the rest once more.

use super::arrived::What;
use crate::guard::{Segment, flag};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// How much of an answer is kept, in bytes.
const KEPT: usize = 4096;

/// A connection for one request.
#[derive(Clone, Debug)]
pub struct Client {
    from: u16,
    to: SocketAddrV4,
    state: State,
    /// The number of the request's first byte.
    first: u32,
    /// The number of the byte that is expected next.
    next: u32,
    request: Vec<u8>,
    heard: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Asking,
    Over,
    Refused,
}

impl Client {
    /// Makes a client that connects from this port, with this first sequence number, and sends the request.
    pub fn new(from: u16, to: SocketAddrV4, sequence: u32, request: &[u8]) -> Self {
        Self {
            from,
            to,
            state: State::Connecting,
            first: sequence.wrapping_add(1),
            next: 0,
            request: Vec::from(request),
            heard: Vec::new(),
        }
    }

    /// Returns the segment to send now. It stays the same until something arrives.
    pub fn segment(&self) -> Segment {
        match self.state {
            State::Connecting => Segment::syn(self.from, self.to, self.first.wrapping_sub(1)),
            // Until an answer begins, the request may not have arrived.
            State::Asking if self.heard.is_empty() => {
                self.build(self.first, flag::ACK | flag::PSH, self.request.clone())
            }
            State::Asking => self.build(self.end(), flag::ACK, Vec::new()),
            State::Over | State::Refused => self.reset(),
        }
    }

    /// Returns the segment that ends the connection at once, whatever its state.
    pub fn reset(&self) -> Segment {
        self.build(self.end(), flag::RST | flag::ACK, Vec::new())
    }

    /// Takes what arrived for its port. Returns whether it belongs to this connection.
    pub fn handle(&mut self, from: Ipv4Addr, what: &What<'_>) -> bool {
        let What::Tcp { from: port, sequence, acknowledgment, flags, payload } = *what else { return false };
        if SocketAddrV4::new(from, port) != self.to {
            return false;
        }
        match self.state {
            // Only somebody who saw the first segment knows its number.
            State::Connecting if acknowledgment != self.first => return false,
            State::Connecting if flags & flag::RST != 0 => self.state = State::Refused,
            State::Connecting if flags & flag::SYN != 0 => {
                self.next = sequence.wrapping_add(1);
                self.state = State::Asking;
            }
            State::Asking if sequence == self.next => {
                self.next = self.next.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
                let room = KEPT - self.heard.len();
                self.heard.extend_from_slice(payload.get(..room).unwrap_or(payload));
                if flags & (flag::FIN | flag::RST) != 0 || self.heard.len() == KEPT {
                    self.state = State::Over;
                }
            }
            State::Asking | State::Connecting | State::Over | State::Refused => {}
        }
        true
    }

    /// Returns whether the other side took the connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Asking | State::Over)
    }

    /// Returns whether the other side refused it.
    pub fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// Returns whether the answer is complete, or as much of it as is kept.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::Refused)
    }

    /// Returns the answer so far.
    pub fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// Returns the sequence number after the request's last byte, once the request is sent.
    fn end(&self) -> u32 {
        let sent = if self.is_connected() { self.request.len() } else { 0 };
        self.first.wrapping_add(u32::try_from(sent).unwrap_or(0))
    }

    fn build(&self, sequence: u32, flags: u8, payload: Vec<u8>) -> Segment {
        Segment { from: self.from, to: self.to, sequence, acknowledgment: self.next, flags, payload }
    }
}
