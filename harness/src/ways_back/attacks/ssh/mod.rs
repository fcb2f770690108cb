//! Attacks on whoever reaches a guest over SSH: root in the guest answers in place of the helper.

mod client;

use crate::processes::naming;
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Context, Result, ensure};
use bottle_core::helper::HELPER;
use bottle_core::visible::is_hidden;
use bottle_host::defence::Defence;
use client::{Client, Said, openssh};
use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Returns every attack in this folder.
pub fn attacks() -> Vec<Attack> {
    let reply = |name, run| Attack::new(name, Defence::SftpReplies, run);
    vec![
        reply("ssh-name-leads-out", name_leads_out),
        reply("ssh-folder-without-end", folder_without_end),
        reply("ssh-line-steers", line_steers),
        reply("ssh-file-larger-than-any", larger_than_any),
        reply("ssh-more-than-was-asked-for", more_than_asked),
        reply("ssh-packet-without-end", packet_without_end),
        Attack::new("ssh-file-server-complains-in-colour", Defence::Visible, complains),
        Attack {
            name: "ssh-guest-keeps-who-has-left",
            defence: Defence::SshLeaves,
            needs: Needs::Long,
            run: keeps,
        },
    ]
}

/// Replaces the helper with one that does this for one of its words, and what it always did for the others.
fn with_helper(target: &mut Target, word: &str, script: &str) -> Result<()> {
    target.up("")?;
    target.guest(&format!("cp {HELPER} /tmp/real"))?;
    target.replace_helper(&format!("[ \"$1\" = {word} ] || exec /tmp/real \"$@\"\n{script}"))
}

/// Lets the guest serve files in this way.
fn serving(target: &mut Target, mode: &str) -> Result<()> {
    with_helper(target, "sftp", &format!("exec python3 /tmp/server.py {mode}"))?;
    target.into_guest("/tmp/server.py", include_bytes!("server.py"))
}

fn connected(target: &mut Target, mode: &str) -> Result<Client> {
    serving(target, mode)?;
    let mut client = Client::connect(target)?;
    client.begun()?;
    Ok(client)
}

/// Returns what has its length before it, and what follows.
fn text(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = packet.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

/// A file's name leads out of the folder that the client copies it to.
fn name_leads_out(target: &mut Target) -> Result<Verdict> {
    let mut client = connected(target, "leads-out")?;
    let Said::Packet(104, names) = client.list()? else { return Ok(Verdict::Held) };
    let (name, _) = names.get(4..).and_then(text).context("a name")?;
    let place = target.path("project").join(str::from_utf8(name)?);
    fs::write(&place, "planted\n")?;
    Ok(Verdict::succeeded_if(target.path("outside/planted").exists(), "a file was written outside"))
}

/// A folder whose list does not end.
fn folder_without_end(target: &mut Target) -> Result<Verdict> {
    let mut client = connected(target, "endless")?;
    let mut heard = 0_u64;
    let mut said = client.list()?;
    while let Said::Packet(104, names) = said {
        heard += u64::from(u32::from_be_bytes(*names.first_chunk().context("a number")?));
        if heard > 600_000 {
            return Ok(Verdict::Succeeded(format!("the client keeps {heard} names, and no end is in sight")));
        }
        said = client.again()?;
    }
    ensure!(heard > 100_000, "the guest told {heard} names");
    Ok(Verdict::Held)
}

/// A line of a list, for a client that prints it.
fn line_steers(target: &mut Target) -> Result<Verdict> {
    let mut client = connected(target, "steers")?;
    let Said::Packet(104, names) = client.list()? else { anyhow::bail!("no list") };
    let line = names.get(4..).and_then(text).and_then(|(_, rest)| text(rest)).context("a line")?.0;
    let line = String::from_utf8_lossy(line).into_owned();
    ensure!(line.contains("SHOWN"), "{line:?}");
    Ok(Verdict::succeeded_if(line.contains(is_hidden), format!("the client prints {line:?}")))
}

/// A file of 2^63 bytes, for a client that asks for each part of it in advance.
fn larger_than_any(target: &mut Target) -> Result<Verdict> {
    let mut client = connected(target, "large")?;
    let Said::Packet(105, file) = client.ask(17, b"\0\0\0\x01/")? else { return Ok(Verdict::Held) };
    let size = file.get(4..).and_then(<[u8]>::first_chunk).context("a size")?;
    let size = u64::from_be_bytes(*size);
    Ok(Verdict::succeeded_if(size > 1 << 62, format!("the client waits for {size} bytes")))
}

/// More of a file than was asked for, for a client that has room for what it asked for.
fn more_than_asked(target: &mut Target) -> Result<Verdict> {
    let mut client = connected(target, "more")?;
    let asked = [&b"\0\0\0\x01h"[..], &[0; 8], &4_u32.to_be_bytes()].concat();
    let Said::Packet(103, data) = client.ask(5, &asked)? else { return Ok(Verdict::Held) };
    let (data, _) = text(&data).context("data")?;
    Ok(Verdict::succeeded_if(data.len() > 4, format!("4 bytes were asked for, {} came", data.len())))
}

/// A packet of 4 GB, for a client that makes room for it.
fn packet_without_end(target: &mut Target) -> Result<Verdict> {
    serving(target, "floods")?;
    let mut client = Client::connect(target)?;
    Ok(match client.hear()? {
        Said::TooLong(len) => Verdict::Succeeded(format!("the client makes room for {len} bytes")),
        Said::Packet(..) | Said::Nothing => Verdict::Held,
    })
}

/// What the guest's file server says on standard error, which ssh prints as it is.
fn complains(target: &mut Target) -> Result<Verdict> {
    serving(target, "complains")?;
    let mut scp = openssh(target, "scp")?;
    scp.args([&format!("{SLUG}.bottle:/tmp/x"), "copied"]);
    let said = target.run(scp)?.text();
    ensure!(said.contains("SHOWN"), "nothing of the guest's was shown: {said:?}");
    // scp ends its own lines with a carriage return.
    let steers = said.chars().find(|c| is_hidden(*c) && !"\n\r\t".contains(*c));
    Ok(steers.map_or(Verdict::Held, |c| Verdict::Succeeded(format!("{c:?} reached the terminal"))))
}

/// A client leaves, and the guest's helper does not end the command, or answer.
fn keeps(target: &mut Target) -> Result<Verdict> {
    const LONGEST: Duration = Duration::from_secs(25);
    with_helper(target, "signal", "exec sleep 600")?;
    let mut ssh = openssh(target, "ssh")?;
    ssh.args([&format!("{SLUG}.bottle"), "echo up; exec sleep 600"]);
    let mut ssh = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let heard = ssh.stdout.take().context("its output")?.read_exact(&mut [0; 3]);
    ssh.kill()?;
    ssh.wait()?;
    heard.context("the session did not begin")?;
    let folder = target.path("");
    let proxies = || {
        let line = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        naming(&folder).iter().filter(|pid| line(pid).windows(9).any(|part| part == b"ssh-proxy")).count()
    };
    let end = Instant::now() + LONGEST;
    while proxies() > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(100));
    }
    let left = proxies();
    Ok(Verdict::succeeded_if(left > 0, format!("{left} processes wait for the guest")))
}
