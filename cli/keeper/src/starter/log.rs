//! Limits how much a stack writes to the log.

use anyhow::Result;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

/// How many bytes a stack may write to the log. A guest's frames can make it complain.
const MOST_SAID: u64 = 1 << 20;

/// Returns a pipe whose first bytes are copied to the log. The rest are read and discarded.
pub fn bounded(log: &File) -> Result<File> {
    let (mut said, say) = io::pipe()?;
    let mut log = log.try_clone()?;
    thread::Builder::new().name("stack-log".to_owned()).spawn(move || {
        let copied = io::copy(&mut (&mut said).take(MOST_SAID), &mut log);
        if copied.is_ok_and(|copied| copied == MOST_SAID) {
            let _ = log.write_all(b"\nthe rest of the stack's output is left out\n");
        }
        // A stack would block if nobody read its output.
        let _ = io::copy(&mut said, &mut io::sink());
    })?;
    Ok(OwnedFd::from(say).into())
}
