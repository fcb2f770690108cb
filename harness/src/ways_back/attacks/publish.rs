//! Attacks by way of a published port: what listens for it, and what `verify` says of it.

use crate::environment::answer;
use crate::ways_back::attack::Attack;
use crate::ways_back::target::{Target, Verdict};
use anyhow::{Context, Result, ensure};
use bottle_core::helper::HELPER;
use bottle_host::defence::Defence;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

const CONFIG: &str = "[[publish]]\nguest = 3000\n";
const SAYS: &str = "the words of the guest";
/// An address of this machine that is not the loopback's first. What listens on 127.0.0.1 alone is not there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("published-beyond-the-loopback", Defence::PublishedLoopback, beyond_the_loopback),
        Attack::new("verify-misses-a-published-port", Defence::VerifyFromHost, missed_by_verify),
    ]
}

/// Serves a page in the guest, and returns the port at which this machine reaches it.
fn served(target: &mut Target) -> Result<u16> {
    target.guest(&format!(
        "setsid {HELPER} canary --port 3000 --say '{SAYS}' < /dev/null > /dev/null 2>&1 &"
    ))?;
    let rows = answer(&target.operator(&["ls", "--json"])?.output)?;
    let port = rows[0]["published"][0]["host"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.context("nothing is published")?;
    let is_there = (0..100).any(|_| {
        let said = said(Ipv4Addr::LOCALHOST, port);
        thread::sleep(Duration::from_millis(50));
        said
    });
    ensure!(is_there, "the published port does not answer on the loopback");
    Ok(port)
}

fn said(address: Ipv4Addr, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((address, port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut said = [0; 100];
    stream.read(&mut said).is_ok_and(|read| said[..read].starts_with(SAYS.as_bytes()))
}

/// Somebody on the network asks for what a guest serves.
fn beyond_the_loopback(target: &mut Target) -> Result<Verdict> {
    target.up(CONFIG)?;
    let port = served(target)?;
    let what = "what the guest serves is reached at another address than 127.0.0.1";
    Ok(Verdict::succeeded_if(said(ELSEWHERE, port), what))
}

/// A published port listens on every address, and `verify` is asked.
fn missed_by_verify(target: &mut Target) -> Result<Verdict> {
    target.up_without(CONFIG, &[Defence::PublishedLoopback])?;
    let port = served(target)?;
    ensure!(said(ELSEWHERE, port), "the published port listens on the loopback alone");
    let report = answer(&target.operator(&["verify", "--json"])?.output)?;
    let verdict = report["verdict"].as_str().context("a verdict")?;
    Ok(Verdict::succeeded_if(verdict == "isolated", "verify does not see the published port"))
}
