//! Finds the parts of a file that take up space on disk.

use std::fs::File;
use std::io;

/// Returns the start and end of the next part of a file, from `at` on, that takes up space on disk. Returns
/// `None` if there is only a hole up to `len`.
///
/// # Errors
/// Returns an error if the file cannot be examined.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn data(file: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // The file system does not say.
        Err(_) => return Ok((at < len).then_some((at, len))),
    };
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(len);
    Ok((start < len).then_some((start, end.min(len).max(start + 1))))
}

/// Returns the rest of the file, because this system does not say where its holes are.
///
/// # Errors
/// Never returns an error.
#[cfg(not(all(target_os = "linux", not(bottle_portable))))]
#[expect(clippy::unnecessary_wraps, reason = "as where the system can say it")]
pub fn data(_: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    Ok((at < len).then_some((at, len)))
}
