//! Attempts to reach the host's files and Unix sockets.

use super::outcome::{PATIENCE, shown};
use super::protocol::Answer;
use std::fs::File;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

/// Connects to a Unix socket and reads what the other side sends first.
pub fn connect(name: &str, is_abstract: bool) -> Answer {
    answered(|| {
        let address = if is_abstract {
            SocketAddr::from_abstract_name(name)?
        } else {
            SocketAddr::from_pathname(name)?
        };
        let stream = UnixStream::connect_addr(&address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    })
}

/// Reads the beginning of a file.
pub fn read(path: &str) -> Answer {
    answered(|| File::open(path))
}

fn answered<R: Read>(open: impl FnOnce() -> std::io::Result<R>) -> Answer {
    let mut answer = Answer::default();
    let mut buffer = [0; 256];
    match open() {
        Ok(mut source) => {
            let read = source.read(&mut buffer).unwrap_or(0);
            answer.said.push((0, shown(&buffer[..read])));
        }
        Err(error) => answer.count(&error),
    }
    answer
}
