//! What is published now: a record for each port, next to a lock that its publisher holds.

use anyhow::Result;
use bottle_core::specification::Published;
use bottle_host::state::{Folder, Lock, parse_json, private_dir, remove_file, write_private};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How long the publisher of a bottle that has just stopped may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is recorded: what is published, and in which life of the bottle.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    published: Published,
    life: Option<u64>,
}

/// Returns what tells one life of a bottle from another: each keeper makes a socket of its own.
pub fn life(folder: &Folder) -> Option<u64> {
    fs::metadata(folder.control()).ok().map(|socket| socket.ino())
}

/// A publication, as long as its publisher lives.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    _lock: Lock,
}

impl Record {
    /// Reserves a guest's port for this publisher. Returns `None` if another one publishes it.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be written.
    pub fn reserve(folder: &Folder, guest: NonZeroU16) -> Result<Option<Self>> {
        private_dir(&folder.published())?;
        let path = folder.published().join(format!("{guest}.json"));
        let lock = Lock::alone(&path.with_extension("lock"), PATIENCE)?;
        Ok(lock.map(|lock| Self { path, _lock: lock }))
    }

    /// Records where the port is published.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn write(&self, published: Published, life: Option<u64>) -> Result<()> {
        write_private(&self.path, serde_json::to_string(&Kept { published, life })?.as_bytes())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

/// Returns what a bottle publishes now, by the guest's ports.
pub fn published(folder: &Folder) -> Vec<Published> {
    let life = life(folder);
    let kept = records(folder).into_iter().filter(|kept| kept.life == life);
    let mut published: Vec<Published> = kept.map(|kept| kept.published).collect();
    published.sort();
    published
}

/// Returns the records whose publishers live. One without its publisher is what a crash left behind.
fn records(folder: &Folder) -> Vec<Kept> {
    let entries = fs::read_dir(folder.published()).into_iter().flatten().flatten();
    let records = entries.map(|entry| entry.path()).filter(|path| path.extension() == Some("json".as_ref()));
    let is_kept =
        |path: &PathBuf| matches!(Lock::alone(&path.with_extension("lock"), Duration::ZERO), Ok(None));
    records
        .filter(is_kept)
        .filter_map(|path| parse_json(&path, &fs::read_to_string(&path).ok()?).ok())
        .collect()
}

/// Checks that a port of this machine's loopback is free, or is held by a publisher of the same bottle, which
/// ends with it.
///
/// # Errors
/// Returns the error of listening on it.
pub fn check_free(folder: &Folder, wanted: Published) -> io::Result<()> {
    if wanted.host == 0 || records(folder).iter().any(|kept| kept.published.host == wanted.host) {
        return Ok(());
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, wanted.host)).map(drop)
}

/// Returns what is wrong with how ports are published: whatever listens on one of them must listen on the loopback
/// alone.
pub fn faults(published: &[Published]) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    published
        .iter()
        .filter(|one| tables.iter().any(|table| listens_elsewhere(table, one.host)))
        .map(|one| {
            format!(
                "port {} of this machine, which is published, listens on more than its loopback",
                one.host
            )
        })
        .collect()
}

/// Returns whether a table of sockets, as the kernel prints it, has one that listens on this port of an address that is
/// not a loopback's.
fn listens_elsewhere(table: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        let Some((address, local_port)) = local.split_once(':') else { return false };
        state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port) && !is_loopback(address)
    })
}

/// Returns whether an address is a loopback's. The kernel prints it in hexadecimal, in words of its own byte order.
fn is_loopback(text: &str) -> bool {
    let words: Option<Vec<u8>> = (0..text.len() / 8)
        .map(|word| u32::from_str_radix(&text[8 * word..8 * word + 8], 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    match words.as_deref() {
        Some([a, b, c, d]) => Ipv4Addr::new(*a, *b, *c, *d).is_loopback(),
        Some(bytes) => <[u8; 16]>::try_from(bytes).is_ok_and(|bytes| {
            let address = Ipv6Addr::from(bytes);
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_found_and_one_on_the_loopback_is_none() {
        let line = |local: &str, state: &str| {
            format!("  sl  local ...\n   0: {local} 00000000:0000 {state} 0 0 0\n")
        };
        for (local, state, elsewhere) in [
            ("0100007F:0BB8", "0A", false),
            ("00000000:0BB8", "0A", true),
            ("0100000A:0BB8", "0A", true),
            ("00000000:0BB9", "0A", false),
            ("00000000:0BB8", "01", false),
            ("00000000000000000000000001000000:0BB8", "0A", false),
            ("00000000000000000000000000000000:0BB8", "0A", true),
            ("0000000000000000FFFF00000100007F:0BB8", "0A", false),
        ] {
            assert_eq!(listens_elsewhere(&line(local, state), 3000), elsewhere, "{local} {state}");
        }
        // What is printed here is what this machine's kernel prints.
        let (open, closed) = ("0.0.0.0:0", "127.0.0.1:0");
        let [open, closed] = [open, closed].map(|address| TcpListener::bind(address).unwrap());
        let publication = |listener: &TcpListener| Published {
            guest: NonZeroU16::MIN,
            host: listener.local_addr().unwrap().port(),
        };
        assert_eq!(faults(&[publication(&open)]).len(), 1);
        assert_eq!(faults(&[publication(&closed)]), [""; 0]);
    }
}
