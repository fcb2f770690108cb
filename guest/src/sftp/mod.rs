//! `bottle-guest sftp`: lets a client of the host copy files with the SSH file transfer protocol, version 3.
//!
//! This is the version that OpenSSH speaks (draft-ietf-secsh-filexfer-02). It runs as the user that the client named, and
//! no image needs to bring a program for it. [`wire`] is the format, [`serve`] does what is asked, and [`attributes`] are what
//! a file is.

mod attributes;
mod serve;
pub mod wire;

use anyhow::{Result, bail};
use serve::Server;
use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;
use wire::LONGEST;

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
