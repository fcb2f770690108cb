//! Questions for resolvers.

use super::outcome::PATIENCE;
use super::protocol::Answer;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

/// Asks a resolver, and reports the response code and the number of records.
pub fn ask(server: SocketAddr, tcp: bool, name: &str, kind: u16) -> Answer {
    let mut answer = Answer::default();
    let message = question(name, kind);
    match if tcp { over_tcp(server, &message) } else { over_udp(server, &message) } {
        Ok(said) if said.len() >= 8 => {
            let (code, records) = (said[3] & 0x0f, u16::from_be_bytes([said[6], said[7]]));
            answer.said.push((server.port(), format!("rcode {code}, {records} answers")));
            if code != 0 {
                answer.refused += 1;
            }
        }
        Ok(_) => answer.failed += 1,
        Err(error) => answer.count(&error),
    }
    answer
}

fn over_udp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE * 2))?;
    socket.send(message)?;
    let mut buffer = vec![0; 4096];
    let read = socket.recv(&mut buffer)?;
    buffer.truncate(read);
    Ok(buffer)
}

fn over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    stream.write_all(&u16::try_from(message.len()).unwrap_or(0).to_be_bytes())?;
    stream.write_all(message)?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut said = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut said)?;
    Ok(said)
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x62, 0x74, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}
