//! Names and secrets that nobody can guess.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;

/// Returns this many random bytes.
///
/// # Errors
/// Returns an error if this machine has no random bytes.
pub fn bytes<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let mut random = [0; BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("/dev/urandom")?;
    Ok(random)
}

/// Returns this many random bytes, in hexadecimal.
///
/// # Errors
/// Returns an error as for [`bytes`].
pub fn hex<const BYTES: usize>() -> Result<String> {
    Ok(bytes::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
