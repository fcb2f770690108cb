//! Attempts at the keeper's socket, by a guest that talks to it without the helper.

use super::outcome::{PATIENCE, is_silence, shown};
use super::protocol::Answer;
use super::raw::unhex;
use super::sweep;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How many connections a flood opens. None of them says what it is for.
const FLOOD: usize = 500;

/// How many ports may stay open for long before no more are given the time to close late.
const OPEN: usize = 3;

/// Asks for a stream to each port, and counts a port as accepted unless it closes. Nothing that a door says is waited for. Where
/// many are asked for at once, a slow machine closes them late: one that is still open is asked for once more, alone.
pub fn ports(socket: &Path, first: u16, last: u16) -> Answer {
    let mut tried = sweep::many(first.into()..=last.into(), |port| open(socket, port, PATIENCE));
    let mut open_ones = 0;
    for (port, outcome) in &mut tried {
        if open_ones < OPEN && outcome.as_ref().is_err_and(is_silence) {
            *outcome = open(socket, *port, PATIENCE * 4);
        }
        if outcome.as_ref().is_err_and(is_silence) {
            open_ones += 1;
            *outcome = Ok(String::new());
        }
    }
    sweep::answered(tried)
}

fn open(socket: &Path, port: u32, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    let port = u16::try_from(port).map_err(io::Error::other)?;
    // Make whatever listens there respond: one chunk with an empty line in it.
    let _ = stream.write_all(&[&port.to_be_bytes()[..], &[0, 0, 0, 4], b"\r\n\r\n"].concat());
    let mut buffer = [0; 256];
    match stream.read(&mut buffer) {
        Ok(0) => Err(ErrorKind::ConnectionRefused.into()),
        Ok(read) => Ok(shown(&buffer[..read])),
        Err(error) => Err(error),
    }
}

/// Writes each of these byte strings on its own connection, and then opens many connections that say nothing.
pub fn lies(socket: &Path, bytes: &[String]) -> Answer {
    let mut answer = Answer::default();
    for bytes in bytes {
        let sent = (|| -> io::Result<()> {
            let mut stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE / 4))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&unhex(bytes))?;
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0; 256]);
            Ok(())
        })();
        match sent {
            Ok(()) => answer.refused += 1,
            Err(error) => answer.count(&error),
        }
    }
    let flood: Vec<UnixStream> = (0..FLOOD).filter_map(|_| UnixStream::connect(socket).ok()).collect();
    answer.refused += flood.len();
    thread::sleep(PATIENCE);
    answer
}
