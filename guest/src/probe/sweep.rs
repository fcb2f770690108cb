//! Many ports at once.

use super::{Answer, PATIENCE, shown};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Connections under way at a time.
const AT_ONCE: u32 = 48;

/// Connects to each port and reads what is said first.
pub fn tcp(address: IpAddr, ports: RangeInclusive<u16>) -> Answer {
    let next = AtomicU32::new(u32::from(*ports.start()));
    let last = u32::from(*ports.end());
    let total = Mutex::new(Answer::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(last + 1 - u32::from(*ports.start())) {
            scope.spawn(|| {
                while let Ok(port) = u16::try_from(next.fetch_add(1, Relaxed))
                    && u32::from(port) <= last
                {
                    let tried = knock(SocketAddr::new(address, port));
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match tried {
                        Ok(said) => {
                            total.accepted.push(port);
                            if !said.is_empty() {
                                total.said.push((port, said));
                            }
                        }
                        Err(error) => total.count(&error),
                    }
                }
            });
        }
    });
    let mut answer = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    answer.accepted.sort_unstable();
    answer.said.sort_unstable();
    answer
}

/// A connection is an error or what was said: nothing, if silence was all.
fn knock(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 256];
    let read = stream.read(&mut buffer).unwrap_or(0);
    Ok(shown(&buffer[..read]))
}

/// Sends a datagram to each port.
pub fn udp(address: IpAddr, ports: &[u16]) -> Answer {
    let mut answer = Answer::default();
    let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    for &port in ports {
        let asked = || -> std::io::Result<String> {
            let socket = UdpSocket::bind(local)?;
            socket.connect(SocketAddr::new(address, port))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(b"probe\n")?;
            let mut buffer = [0; 512];
            let read = socket.recv(&mut buffer)?;
            Ok(shown(&buffer[..read]))
        };
        match asked() {
            Ok(said) => answer.said.push((port, said)),
            Err(error) => answer.count(&error),
        }
    }
    answer
}

/// Connects, says something, and reads the answer to its end.
pub fn say(address: SocketAddr, text: &str) -> Answer {
    let mut answer = Answer::default();
    let spoken = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE * 4)?;
        stream.set_read_timeout(Some(PATIENCE * 4))?;
        stream.write_all(text.as_bytes())?;
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read) = stream.read(&mut buffer)
            && read > 0
            && said.len() < 1 << 16
        {
            said.extend_from_slice(&buffer[..read]);
        }
        Ok(shown(&said))
    };
    match spoken() {
        Ok(said) => {
            answer.accepted.push(address.port());
            answer.said.push((address.port(), said));
        }
        Err(error) => answer.count(&error),
    }
    answer
}
