//! Attacks on the log: a guest fills it, avoids it, or makes it lie.

use crate::https_server::HttpsServer;
use crate::ways_back::attack::Attack;
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Result, ensure};
use bottle_host::defence::Defence;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("log-flood-takes-decisions", Defence::DecisionsApart, decisions),
        Attack::new("log-flood-of-long-requests", Defence::CountedRefusals, long_requests),
        Attack::new("log-flood-of-names", Defence::CountedRefusals, names),
        Attack::new("log-flood-of-frames", Defence::CountedRefusals, frames),
        Attack::new("log-gap-is-called-whole", Defence::GapTold, gap),
        Attack::new("log-unwritten-not-http", Defence::RefusalsLogged, not_http),
        Attack::new("log-unwritten-other-scheme", Defence::RefusalsLogged, other_scheme),
        Attack::new("log-unwritten-framing", Defence::RefusalsLogged, framing),
        Attack::new("log-unwritten-sidecar-404", Defence::RefusalsLogged, nowhere),
        Attack::new("log-unwritten-silent-tunnel", Defence::RefusalsLogged, silent_tunnel),
        Attack::new("keeper-answers-without-end", Defence::BoundedReads, endless_answer),
    ]
}

/// A program for the guest: it requests a number of hosts from the egress proxy, each a number of times, with
/// paths of a given length.
const FLOOD: &str = r#"
import os, socket, sys, urllib.parse
door = urllib.parse.urlparse(os.environ["HTTP_PROXY"])
hosts, times, length = map(int, sys.argv[1:])
connection = socket.create_connection((door.hostname, door.port), 20)
answers = connection.makefile("rb")
for at in range(hosts * times):
    host = f"n{at % hosts}.evil.test"
    connection.sendall(f"GET http://{host}/{'x' * length} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    while True:
        line = answers.readline()
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
        if line == b"\r\n":
            answers.read(size)
            break
        assert line, at
"#;

fn flood(target: &Target, hosts: u32, times: u32, length: u32) -> Result<()> {
    target.into_guest("/tmp/flood.py", FLOOD.as_bytes())?;
    target.guest(&format!("python3 /tmp/flood.py {hosts} {times} {length}")).map(|_| ())
}

/// Returns the size of the log in bytes and lines, including rotated files.
fn size(target: &Target) -> Result<(usize, usize)> {
    let mut all = (0, 0);
    for entry in fs::read_dir(target.path("state/t/log"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read(&path)?;
            all = (all.0 + text.len(), all.1 + text.iter().filter(|byte| **byte == b'\n').count());
        }
    }
    Ok(all)
}

/// Waits for a line in the log with all of these words, and returns whether it came.
fn is_logged(target: &Target, words: &[&str]) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let log = target.log()?;
        if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn held_if_logged(target: &Target, words: &[&str]) -> Result<Verdict> {
    Ok(Verdict::succeeded_if(!is_logged(target, words)?, "it is not in the log"))
}

/// The operator denies one host and allows another. Then the guest floods the log, whose files are small so
/// that a short flood is enough.
fn decisions(target: &mut Target) -> Result<Verdict> {
    target.up_with("", &[("BOTTLE_LOG_SEGMENT", "2048")])?;
    ensure!(target.operator(&["deny", SLUG, "closed.test"])?.is_success(), "deny");
    ensure!(target.operator(&["allow", SLUG, "open.test"])?.is_success(), "allow");
    flood(target, 40, 30, 100)?;
    thread::sleep(Duration::from_millis(500));
    let logs = target.operator(&["logs", SLUG])?.text();
    let kept = [
        ["rules", "denied", "rule=closed.test"],
        ["rules", "allowed", "rule=open.test"],
        ["keeper", "started", ""],
    ];
    let there = |words: &[&str; 3]| logs.lines().any(|line| words.iter().all(|word| line.contains(word)));
    Ok(Verdict::succeeded_if(!kept.iter().all(there), "decisions are gone from the log"))
}

/// Requests of 60 KB, one after another.
fn long_requests(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    flood(target, 1, 200, 60_000)?;
    thread::sleep(Duration::from_millis(500));
    let (bytes, _) = size(target)?;
    Ok(Verdict::succeeded_if(bytes > 1 << 20, format!("200 requests made the log {bytes} bytes long")))
}

/// Names that are all different, so that none of them is a repetition.
fn names(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    flood(target, 2000, 1, 10)?;
    thread::sleep(Duration::from_millis(500));
    let (_, lines) = size(target)?;
    // Every one of them must still be counted.
    let stopped = target.operator(&["stop", SLUG])?;
    ensure!(stopped.is_success(), "stop: {}", stopped.text());
    let count = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["reason"] == "host").then(|| line["repeated"].as_u64().unwrap_or(1))
    };
    let counted: u64 = target.log()?.lines().filter_map(count).sum();
    ensure!(counted == 2000, "{counted} of 2000 refusals are in the log");
    Ok(Verdict::succeeded_if(lines > 1000, format!("2000 names made {lines} lines")))
}

/// Datagrams to addresses that are all different.
fn frames(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest(
        "python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for at in range(3000):
    try:
        s.sendto(b\"x\", (f\"10.{at // 65536}.{at // 256 % 256}.{at % 256}\", 9))
    except OSError:
        pass
'",
    )?;
    thread::sleep(Duration::from_millis(500));
    let (_, lines) = size(target)?;
    Ok(Verdict::succeeded_if(lines > 1000, format!("3000 datagrams made {lines} lines")))
}

/// The guest causes older lines to be rotated away. The operator asks whether the log is complete.
fn gap(target: &mut Target) -> Result<Verdict> {
    target.up_with("", &[("BOTTLE_LOG_SEGMENT", "2048")])?;
    flood(target, 40, 30, 100)?;
    thread::sleep(Duration::from_millis(500));
    let check = target.operator(&["audit", SLUG, "--check"])?;
    ensure!(!target.path("state/t/log/audit.000001.jsonl").exists(), "nothing was rotated away");
    let told =
        check.status.and_then(|status| status.code()) == Some(3) && check.text().contains("rotated away");
    Ok(Verdict::succeeded_if(!told, format!("lines are gone, and the check says: {}", check.text())))
}

/// Bytes that are not HTTP.
fn not_http(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest("printf '\\0\\1\\2 knock\\r\\n\\r\\n' | curl -sS -m 5 telnet://${HTTP_PROXY#http://} >/dev/null 2>&1 || true")?;
    held_if_logged(target, &["pipelock", "refused", "not-http"])
}

/// A request for a URL that is neither http nor https, which gets status 400.
fn other_scheme(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest(
        "python3 -c '
import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"HTTP_PROXY\"])
s = socket.create_connection((door.hostname, door.port), 5)
s.sendall(b\"GET ftp://evil.test/ HTTP/1.1\\r\\nhost: evil.test\\r\\n\\r\\n\")
assert b\" 400 \" in s.recv(100)
'",
    )?;
    held_if_logged(target, &["pipelock", "refused", "scheme", "evil.test"])
}

/// An impossible frame length, on the socket that leads out of the machine.
fn framing(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest(
        "python3 -c '
import socket, time
# The keeper of a busy machine may close a connection without a greeting.
for _ in range(20):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(\"/run/bottle.sock\")
    if s.recv(4): break
    time.sleep(0.2)
s.sendall(b\"\\xff\\xff\\xff\\xff\")
try:
    s.recv(1)
except OSError:
    pass
'",
    )?;
    held_if_logged(target, &["link", "refused", "framing"])
}

/// A request for a path that a sidecar does not have.
fn nowhere(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    target.guest("curl -sS -m 5 -d '{}' $BOTTLE_SUPERVISE/admin > /dev/null")?;
    held_if_logged(target, &["supervise", "refused", "/admin"])
}

/// A tunnel through which nothing is ever sent.
fn silent_tunnel(target: &mut Target) -> Result<Verdict> {
    let server = HttpsServer::serve(&["quiet.test"])?;
    let hosts = format!("hosts = {{ \"quiet.test\" = \"{}\" }}\n", server.address());
    target.up(&format!("[egress]\nallow = [\"quiet.test\"]\n{hosts}"))?;
    target.guest(
        "python3 -c '
import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"HTTP_PROXY\"])
s = socket.create_connection((door.hostname, door.port), 5)
s.sendall(b\"CONNECT quiet.test:443 HTTP/1.1\\r\\nhost: quiet.test:443\\r\\n\\r\\n\")
assert b\" 200 \" in s.recv(100)
'",
    )?;
    let verdict = held_if_logged(target, &["pipelock", "refused", "not-tls", "quiet.test"]);
    drop(server);
    verdict
}

/// A keeper that a guest has taken over sends an endless answer to one of the operator's commands.
fn endless_answer(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let control = target.path("run/t/control.sock");
    fs::rename(&control, control.with_extension("old"))?;
    let listener = UnixListener::bind(&control)?;
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let block = vec![b' '; 1 << 20];
            for _ in 0..600 {
                if stream.write_all(&block).is_err() {
                    return;
                }
            }
        }
    });
    let before = target.memory();
    let ended = target.operator(&["status", SLUG])?;
    fs::remove_file(&control)?;
    fs::rename(control.with_extension("old"), &control)?;
    let took = ended.peak.saturating_sub(before) >> 20;
    Ok(Verdict::succeeded_if(took > 200, format!("`bottle status` took {took} MiB")))
}
