//! ICMP echo, as `ping` sends it.

use super::outcome::{PATIENCE, shown};
use super::protocol::Answer;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const IPV4_LEN: usize = 20;
const ICMP_LEN: usize = 8;

/// Sends a request and waits for the reply.
pub fn ask(address: Ipv4Addr) -> Answer {
    let mut answer = Answer::default();
    match asked(address) {
        // ICMP has no ports.
        Ok(said) => answer.said.push((0, said)),
        Err(error) => answer.count(&error),
    }
    answer
}

fn asked(address: Ipv4Addr) -> std::io::Result<String> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.connect(&SocketAddrV4::new(address, 0).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&request())?;
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 512];
    // A raw socket receives everything that the address sends, including errors for other attempts.
    while Instant::now() < end {
        let read = socket.read(&mut buffer)?;
        let message = buffer[..read].get(IPV4_LEN..).unwrap_or_default();
        let quoted = message.get(ICMP_LEN..).unwrap_or_default();
        match message.first() {
            Some(&ECHO_REPLY) => return Ok(shown(quoted)),
            Some(&UNREACHABLE) if quoted.get(IPV4_LEN) == Some(&ECHO) => {
                return Err(ErrorKind::HostUnreachable.into());
            }
            _ => {}
        }
    }
    Err(Error::from(ErrorKind::TimedOut))
}

/// Returns an echo request (RFC 792).
fn request() -> Vec<u8> {
    let mut message = vec![ECHO, 0, 0, 0, 0x62, 0x74, 0, 1];
    message.extend(b"bottle");
    let sum = message.chunks(2).fold(0_u32, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
