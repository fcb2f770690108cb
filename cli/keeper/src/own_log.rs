//! Keeps the keeper's own log short. A guest can make git, a stack or a sidecar complain for as long as its
//! bottle runs.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// The length beyond which the log is shortened, in bytes.
const LONGEST: u64 = 4 << 20;
/// How many bytes are kept then, from the end of the log.
const KEPT: u64 = 256 << 10;
/// How often a running keeper checks the log's length.
const INTERVAL: Duration = Duration::from_secs(5);

/// Opens the log of a keeper that is about to start, after shortening it if necessary.
///
/// # Errors
/// Returns an error if the log cannot be opened or shortened.
pub fn open(path: &Path) -> Result<File> {
    let open = || -> Result<File> {
        let log = OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(path)?;
        shorten(&log)?;
        Ok(log)
    };
    open().with_context(|| path.display().to_string())
}

/// Shortens this process's standard error whenever it has become too long, if it is a file.
pub async fn keep_short() {
    let Ok(log) = std::io::stderr().as_fd().try_clone_to_owned().map(File::from) else { return };
    while shorten(&log).is_ok() {
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Keeps only the end of a log that is too long. Every writer appends.
fn shorten(log: &File) -> Result<()> {
    let length = log.metadata()?.len();
    if length <= LONGEST {
        return Ok(());
    }
    let mut end = vec![0; usize::try_from(KEPT)?];
    log.read_exact_at(&mut end, length - KEPT)?;
    let line = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    log.set_len(0)?;
    let left_out = length - KEPT + line as u64;
    let mut text =
        format!("bottle: the log became too long: its first {left_out} bytes are left out\n").into_bytes();
    text.extend_from_slice(&end[line..]);
    (&*log).write_all(&text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_long_log_keeps_its_end_and_a_short_one_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.log");
        let mut log = open(&path).unwrap();
        log.write_all(b"short\n").unwrap();
        shorten(&log).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short\n");
        let mut lines = 0;
        while log.metadata().unwrap().len() <= LONGEST {
            log.write_all(format!("line {lines}\n").repeat(1000).as_bytes()).unwrap();
            lines += 1;
        }
        let last = format!("line {}", lines - 1);
        // A writer that has the log open continues at its new end.
        drop(open(&path).unwrap());
        log.write_all(b"and on\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= KEPT + 200, "{}", text.len());
        let shown: Vec<&str> = text.lines().collect();
        assert!(shown[0].contains("bytes are left out"), "{}", shown[0]);
        assert!(shown[1..].iter().all(|line| line.starts_with("line ") || *line == "and on"));
        assert_eq!(shown[shown.len() - 2..], [last.as_str(), "and on"]);
    }
}
