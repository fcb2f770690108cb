//! Attempts at many ports at once.

use super::outcome::{PATIENCE, is_silence, shown};
use super::protocol::Answer;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How many connections are attempted at a time.
const AT_ONCE: usize = 48;
/// How many silent attempts are made again. A busy machine keeps answers past [`PATIENCE`] now and then; a
/// network that swallows what it does not like does so at more ports than these.
pub(super) const AGAIN: usize = 256;

/// Connects to each port and reads what the other side sends first.
pub fn tcp(address: IpAddr, ports: RangeInclusive<u16>) -> Answer {
    answered(many(u32::from(*ports.start())..=u32::from(*ports.end()), |port| {
        connect(SocketAddr::new(address, narrow(port)))
    }))
}

/// Returns the results of the attempts at each port: what the other side said, or why it refused.
pub fn answered(tried: Vec<(u32, io::Result<String>)>) -> Answer {
    let mut answer = Answer::default();
    for (port, outcome) in tried {
        let port = narrow(port);
        match outcome {
            Ok(said) => {
                answer.accepted.push(port);
                if !said.is_empty() {
                    answer.said.push((port, said));
                }
            }
            Err(error) => answer.count(&error),
        }
    }
    answer
}

/// Returns the port of IP with this number. Those of vsock have 32 bits.
fn narrow(port: u32) -> u16 {
    u16::try_from(port).unwrap_or(0)
}

/// Makes an attempt at each port, many at a time, and once more at those that were silent, if they are few.
/// The results are in the order of the ports.
pub fn many<T: Send>(
    ports: impl IntoIterator<Item = u32>,
    attempt: impl Fn(u32) -> io::Result<T> + Sync,
) -> Vec<(u32, io::Result<T>)> {
    let ports: Vec<u32> = ports.into_iter().collect();
    let mut tried = at_once(&ports, &attempt);
    let mut silent: Vec<_> =
        tried.iter_mut().filter(|(_, outcome)| outcome.as_ref().is_err_and(is_silence)).collect();
    if silent.len() <= AGAIN {
        let ports: Vec<u32> = silent.iter().map(|(port, _)| *port).collect();
        for (first, second) in silent.iter_mut().zip(at_once(&ports, &attempt)) {
            **first = second;
        }
    }
    tried
}

/// Makes an attempt at each port, many at a time. The results are in the order of the ports.
fn at_once<T: Send>(ports: &[u32], attempt: impl Fn(u32) -> T + Sync) -> Vec<(u32, T)> {
    let next = AtomicUsize::new(0);
    let mut tried = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE.min(ports.len()))
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while let Some(port) = ports.get(next.fetch_add(1, Relaxed)) {
                        mine.push((*port, attempt(*port)));
                    }
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    tried.sort_by_key(|(port, _)| *port);
    tried
}

/// Connects, and returns what the other side sends first, or nothing if it stays silent.
fn connect(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 256];
    let read = stream.read(&mut buffer).unwrap_or(0);
    Ok(shown(&buffer[..read]))
}

/// Sends a datagram to each port.
pub fn udp(address: IpAddr, ports: &[u16]) -> Answer {
    let mut answer = Answer::default();
    let ask = |port| ask(SocketAddr::new(address, port));
    for (port, asked) in many(ports.iter().map(|port| (*port).into()), |port| ask(narrow(port))) {
        match asked {
            Ok(said) => answer.said.push((narrow(port), said)),
            Err(error) => answer.count(&error),
        }
    }
    answer
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"probe\n")?;
    let mut buffer = [0; 512];
    let read = socket.recv(&mut buffer)?;
    Ok(shown(&buffer[..read]))
}

/// Connects, sends a text, and reads the answer to its end.
pub fn say(address: SocketAddr, text: &str) -> Answer {
    let mut answer = Answer::default();
    let spoken = || -> io::Result<String> {
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

/// Sends a text repeatedly, until the answer contains the wanted word or the time is over.
pub fn say_until(address: SocketAddr, text: &str, wanted: &str, limit: Duration) -> Answer {
    let end = Instant::now() + limit;
    loop {
        let answer = say(address, text);
        if Instant::now() > end || answer.said.iter().any(|(_, said)| said.contains(wanted)) {
            return answer;
        }
        thread::sleep(PATIENCE / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Tries ports 1 to 1000. Those up to `late` answer only when they are asked a second time, and those up
    /// to `never` not even then.
    fn silent_after(late: u32, never: u32) -> usize {
        let asked = Mutex::new(std::collections::BTreeSet::new());
        let tried = many(1..=1000, |port| {
            let first = asked.lock().unwrap().insert(port);
            if port <= never || first && port <= late {
                return Err::<String, _>(io::ErrorKind::TimedOut.into());
            }
            Err(io::ErrorKind::ConnectionRefused.into())
        });
        let answer = answered(tried);
        assert_eq!(answer.refused + answer.silent, 1000);
        answer.silent
    }

    #[test]
    fn an_answer_that_was_late_is_no_silence() {
        assert_eq!(silent_after(3, 0), 0);
    }

    #[test]
    fn a_port_that_is_silent_twice_is_silent() {
        assert_eq!(silent_after(3, 2), 2);
    }

    #[test]
    fn a_silent_network_is_asked_once() {
        assert_eq!(silent_after(500, 0), 500);
    }
}
