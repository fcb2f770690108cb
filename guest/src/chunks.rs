//! A file on a stream, in chunks: each its length in four bytes, and its bytes. A length of zero ends the file. A stream
//! that ends without it was cut off, and is not taken for a shorter file.

use crate::report::{Code, Refused};
use anyhow::{Context, Result, ensure};
use std::io::{self, Read, Write};

/// The longest chunk, in bytes.
pub const CHUNK: usize = 64 << 10;

/// Sends bytes as chunks, and returns how many there were.
///
/// # Errors
/// Returns an error if either stream fails, or there are more than `most` bytes.
pub fn send(from: &mut impl Read, to: &mut impl Write, most: u64) -> Result<u64> {
    let (mut sent, mut buffer) = (0, vec![0; CHUNK]);
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.context("standard input")?,
        };
        sent += read as u64;
        if sent > most {
            return Err(Refused(Code::TooLarge, format!("there are more than {most} bytes")).into());
        }
        to.write_all(&u32::try_from(read)?.to_be_bytes())?;
        to.write_all(&buffer[..read])?;
        if read == 0 {
            to.flush()?;
            return Ok(sent);
        }
    }
}

/// Writes the bytes of all chunks.
///
/// # Errors
/// Returns an error if either stream fails, or what arrives was cut off.
pub fn receive(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    while let Some(bytes) = next(from)? {
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads the next chunk, or `None` at the end of the file.
fn next(from: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    from.read_exact(&mut len).context("what arrives was cut off")?;
    let len = u32::from_be_bytes(len) as usize;
    ensure!(len <= CHUNK, "a chunk of {len} bytes is too long");
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).context("what arrives was cut off")?;
    Ok((len > 0).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives_and_what_is_cut_off_is_an_error() {
        let bytes = vec![7; CHUNK + 3];
        let (mut chunks, mut arrived) = (Vec::new(), Vec::new());
        assert_eq!(send(&mut bytes.as_slice(), &mut chunks, u64::MAX).unwrap(), bytes.len() as u64);
        receive(&mut chunks.as_slice(), &mut arrived).unwrap();
        assert_eq!(arrived, bytes);
        let cut = receive(&mut &chunks[..chunks.len() - 1], &mut io::sink()).unwrap_err();
        assert!(cut.to_string().contains("cut off"), "{cut:#}");
        let over = send(&mut bytes.as_slice(), &mut Vec::new(), CHUNK as u64).unwrap_err();
        assert_eq!(Code::of(&over), Code::TooLarge);
        assert!(receive(&mut [0xff; 8].as_slice(), &mut io::sink()).is_err());
    }
}
