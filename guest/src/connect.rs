//! `bottle-guest connect`: passes one connection of the host on to a server in the guest.
//!
//! The host opens the stream, as a call of its own, and this program can only answer on it. Standard input and output
//! carry the chunks of [`bottle_core::stream`], so an end is told from a break in both directions, and a half that has
//! ended does not end the other.

use anyhow::{Context, Result, bail};
use bottle_core::stream::{HEAD_LEN, Incoming, Next, Outgoing};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;

/// How many bytes are copied at once.
const PIECE: usize = 64 << 10;

/// Runs `bottle-guest connect --port N`.
///
/// # Errors
/// Returns an error if nothing listens on the port, or if one side breaks off. The host sees a break then, and no
/// end.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let port = parse(words)?;
    let server = connect(port).with_context(|| format!("nothing listens on port {port}"))?;
    let reader = server.try_clone().context("the connection")?;
    // The process ends with whichever direction breaks, so that the other is not left half open.
    let up = thread::spawn(move || from_host(&mut io::stdin().lock(), &server));
    if to_host(reader, &mut io::stdout().lock()).is_err() {
        std::process::exit(1);
    }
    match up.join() {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => bail!("a thread panicked"),
    }
}

fn parse(words: Vec<OsString>) -> Result<u16> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let mut port = None;
    while let Some(word) = parser.next()? {
        match word {
            Long("port") => port = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    port.context("--port is missing")
}

/// Connects to a server in this guest. Many listen on one of the two loopback addresses only.
fn connect(port: u16) -> io::Result<TcpStream> {
    let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut last = io::Error::from(ErrorKind::ConnectionRefused);
    for address in addresses {
        match TcpStream::connect((address, port)) {
            Ok(server) => {
                let _ = server.set_nodelay(true);
                return Ok(server);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Passes what the host sends on to the server, up to the end of it.
fn from_host(host: &mut impl Read, mut server: &TcpStream) -> io::Result<()> {
    let mut incoming = Incoming::default();
    let mut piece = vec![0; PIECE];
    let passed = loop {
        match incoming.next() {
            Next::Head(len) => {
                let mut head = [0; HEAD_LEN];
                let read = host.read(&mut head[..len])?;
                if read == 0 {
                    break Err(io::Error::from(ErrorKind::ConnectionReset));
                }
                if let Err(long) = incoming.head(&head[..read]) {
                    break Err(io::Error::other(long));
                }
            }
            Next::Payload(len) => {
                let most = len.min(piece.len());
                let read = host.read(&mut piece[..most])?;
                if read == 0 {
                    break Err(io::Error::from(ErrorKind::ConnectionReset));
                }
                incoming.payload(read);
                if let Err(error) = server.write_all(&piece[..read]) {
                    break Err(error);
                }
            }
            Next::End => break Ok(()),
        }
    };
    if passed.is_ok() {
        // A server that has closed already needs no end.
        let _ = server.shutdown(Shutdown::Write);
    } else {
        // Nobody reads the server's answer any more.
        let _ = socket2::SockRef::from(server).set_linger(Some(std::time::Duration::ZERO));
        let _ = server.shutdown(Shutdown::Both);
    }
    passed
}

/// Passes what the server sends on to the host, and the end of it.
fn to_host(mut server: TcpStream, host: &mut impl Write) -> io::Result<()> {
    let mut outgoing = Outgoing::default();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match server.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            outgoing.end();
        } else {
            outgoing.announce(read);
        }
        host.write_all(outgoing.head())?;
        host.write_all(&piece[..read])?;
        host.flush()?;
        outgoing.wrote(HEAD_LEN + read);
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn chunks(parts: &[Vec<u8>], ends: bool) -> Vec<u8> {
        let mut sent = Vec::new();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            sent.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            sent.extend(part);
        }
        sent.extend(if ends { &[0; HEAD_LEN][..] } else { &[] });
        sent
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_the_host_sends_arrives_and_only_an_end_is_one(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..5), ends: bool
        ) {
            let (near, mut far) = pair();
            let passed = from_host(&mut chunks(&parts, ends).as_slice(), &near);
            prop_assert_eq!(passed.is_ok(), ends);
            let mut arrived = Vec::new();
            let read = far.read_to_end(&mut arrived);
            if ends {
                prop_assert_eq!(arrived, parts.concat());
            } else {
                // A break is a reset, or at least not more than what was sent.
                prop_assert!(read.is_err() || parts.concat().starts_with(&arrived));
            }
        }

        #[test]
        fn whatever_the_host_sends_ends_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (near, _far) = pair();
            let _ = from_host(&mut bytes.as_slice(), &near);
        }

        #[test]
        fn what_the_server_sends_is_in_chunks_with_an_end(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..5)
        ) {
            let (near, mut far) = pair();
            let sent = parts.concat();
            far.write_all(&sent).unwrap();
            drop(far);
            let mut told = Vec::new();
            to_host(near, &mut told).unwrap();
            let (mut incoming, mut rest, mut read) = (Incoming::default(), told.as_slice(), Vec::new());
            loop {
                match incoming.next() {
                    Next::Head(len) => {
                        let (head, after) = rest.split_at(len);
                        incoming.head(head).unwrap();
                        rest = after;
                    }
                    Next::Payload(len) => {
                        let (bytes, after) = rest.split_at(len);
                        incoming.payload(len);
                        read.extend_from_slice(bytes);
                        rest = after;
                    }
                    Next::End => break,
                }
            }
            prop_assert_eq!((read, rest.len()), (sent, 0));
        }
    }
}
