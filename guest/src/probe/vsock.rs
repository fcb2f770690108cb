//! Attempts over vsock, which smolvm itself uses to get in and out of a guest.

use super::outcome::{PATIENCE, shown};
use super::protocol::Answer;
use super::sweep;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The host's context identifier.
const HOST: u32 = 2;

/// The ports on which libkrun serves socket impersonation (`devices/virtio/vsock` in its source).
mod tsi {
    pub const STREAMS: u32 = 620;
    pub const CREATE: u32 = 1024;
    pub const CONNECT: u32 = 1025;
}

/// Connects to each port and reads what the other side sends first.
pub fn ports(cid: u32, ports: RangeInclusive<u32>) -> Answer {
    let mut answer = Answer::default();
    for (port, tried) in sweep::many(ports, |port| connect(cid, port)) {
        match tried {
            Ok(said) => {
                answer.vsock.push(port);
                if !said.is_empty() {
                    answer.said.push((0, said));
                }
            }
            // A guest without vsock refuses all of its ports.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::ENODEV)) => {
                answer.refused += 1;
            }
            Err(error) => answer.count(&error),
        }
    }
    answer
}

fn connect(cid: u32, port: u32) -> std::io::Result<String> {
    let mut socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.connect_timeout(&SockAddr::vsock(cid, port), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE / 4))?;
    let mut buffer = [0; 256];
    let read = socket.read(&mut buffer).unwrap_or(0);
    Ok(shown(&buffer[..read]))
}

/// Speaks the protocol of libkrun's guest kernel by hand: it creates a proxy socket, has it connected, and
/// takes the stream.
pub fn impersonate(address: SocketAddrV4) -> Answer {
    let mut answer = Answer::default();
    match impersonated(address) {
        Ok(said) => {
            answer.accepted.push(address.port());
            answer.said.push((address.port(), said));
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::ENODEV | libc::ESOCKTNOSUPPORT) => answer.refused += 1,
            _ => answer.count(&error),
        },
    }
    answer
}

fn impersonated(address: SocketAddrV4) -> std::io::Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(40_000);
    let peer = NEXT.fetch_add(1, Relaxed);
    let control = Socket::new(Domain::VSOCK, Type::DGRAM, None)?;
    control.bind(&SockAddr::vsock(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY))?;
    control.set_read_timeout(Some(PATIENCE))?;
    let mut stream = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    stream.bind(&SockAddr::vsock(libc::VMADDR_CID_ANY, peer))?;

    let (inet, stream_type) = (2_u16, 1_u16);
    let create = [&peer.to_le_bytes()[..], &inet.to_le_bytes(), &stream_type.to_le_bytes()].concat();
    control.send_to(&create, &SockAddr::vsock(HOST, tsi::CREATE))?;
    let name = [&inet.to_ne_bytes()[..], &address.port().to_be_bytes(), &address.ip().octets(), &[0; 8]];
    let name = name.concat();
    let length = u32::try_from(name.len()).unwrap_or(0).to_le_bytes();
    let connect = [&peer.to_le_bytes()[..], &length, &name].concat();
    control.send_to(&connect, &SockAddr::vsock(HOST, tsi::CONNECT))?;
    let mut result = [MaybeUninit::uninit(); 4];
    if control.recv(&mut result)? < 4 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    stream.connect_timeout(&SockAddr::vsock(HOST, tsi::STREAMS), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 256];
    let read = stream.read(&mut buffer)?;
    Ok(shown(&buffer[..read]))
}
