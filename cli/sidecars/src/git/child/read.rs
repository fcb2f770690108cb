//! Reads the lists that git prints.

use anyhow::{Result, bail};
use std::io::{BufRead, Read};

/// Reads up to the byte `end`, which is not included in the result. Returns `None` at the end of the input.
///
/// # Errors
/// Returns an error if more than `most` bytes come before it.
pub fn read_until(reader: &mut impl BufRead, end: u8, most: usize) -> Result<Option<Vec<u8>>> {
    let mut piece = Vec::new();
    let read = Read::take(&mut *reader, most as u64 + 1).read_until(end, &mut piece)?;
    match piece.last() {
        _ if read == 0 => Ok(None),
        Some(last) if *last == end => {
            piece.pop();
            Ok(Some(piece))
        }
        _ if read > most => bail!("git listed a name longer than {most} bytes"),
        _ => bail!("git ended in the middle of its list"),
    }
}
