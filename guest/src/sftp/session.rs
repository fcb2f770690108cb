//! One client: a packet in, a packet out.

use super::serve::Server;
use super::wire::LONGEST;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;

/// Runs `bottle-guest sftp` on standard input and output, until the client closes them.
///
/// # Errors
/// Returns an error if the client does not follow the form of the protocol.
pub fn main(words: &[OsString]) -> Result<ExitCode> {
    if let Some(word) = words.first() {
        bail!("unexpected argument {}", word.display());
    }
    let mut input = BufReader::with_capacity(LONGEST as usize, io::stdin().lock());
    let mut output = io::stdout().lock();
    let mut server = Server::default();
    while let Some(packet) = packet(&mut input)? {
        output.write_all(&server.answer(&packet)?)?;
        output.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the next packet, without its length. Returns `None` at the end.
fn packet(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    if input.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut head[1..])?;
    let len = u32::from_be_bytes(head);
    if len > LONGEST {
        bail!("a packet of {len} bytes is too long");
    }
    let mut packet = vec![0; len as usize];
    input.read_exact(&mut packet)?;
    Ok(Some(packet))
}
