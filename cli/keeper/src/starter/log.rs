//! What a stack says, in the log.

use anyhow::Result;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

/// How much a stack may say in the log, in bytes: a guest's frames make it complain.
const MOST_SAID: u64 = 1 << 20;

/// A file whose first bytes come into the log; the others are read and forgotten.
pub fn bounded(log: &File) -> Result<File> {
    let (mut said, say) = io::pipe()?;
    let mut log = log.try_clone()?;
    thread::Builder::new().name("what the stack says".to_owned()).spawn(move || {
        let copied = io::copy(&mut (&mut said).take(MOST_SAID), &mut log);
        if copied.is_ok_and(|copied| copied == MOST_SAID) {
            let _ = log.write_all(b"\nthe stack says more, which is left out\n");
        }
        // A stack that nobody listens to would stop.
        let _ = io::copy(&mut said, &mut io::sink());
    })?;
    Ok(OwnedFd::from(say).into())
}
