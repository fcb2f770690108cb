//! Attacks on the log: a guest writes it full, writes around it, or makes it lie.

use crate::ways_back::Attack;
use crate::ways_back::field::{Field, SLUG, Verdict};
use anyhow::{Result, ensure};
use bottle_host::defence::Defence;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("log-flood-takes-decisions", Defence::DecisionsApart, decisions),
        Attack::new("log-flood-of-long-requests", Defence::CountedRefusals, long_requests),
        Attack::new("log-flood-of-names", Defence::CountedRefusals, names),
        Attack::new("log-flood-of-frames", Defence::CountedRefusals, frames),
        Attack::new("log-gap-is-called-whole", Defence::GapTold, gap),
        Attack::new("log-unwritten-not-http", Defence::RefusalsLogged, not_http),
        Attack::new("log-unwritten-https-by-get", Defence::RefusalsLogged, https_by_get),
        Attack::new("log-unwritten-framing", Defence::RefusalsLogged, framing),
        Attack::new("log-unwritten-sidecar-404", Defence::RefusalsLogged, nowhere),
        Attack::new("log-unwritten-silent-tunnel", Defence::RefusalsLogged, silent_tunnel),
        Attack::new("keeper-answers-without-end", Defence::BoundedReads, endless_answer),
    ]
}

/// In the guest: asks the egress proxy for so many hosts, so often each, by paths of this length.
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

fn flood(field: &Field, hosts: u32, times: u32, length: u32) -> Result<()> {
    field.into_guest("/tmp/flood.py", FLOOD.as_bytes())?;
    field.guest(&format!("python3 /tmp/flood.py {hosts} {times} {length}")).map(|_| ())
}

/// How many bytes the log has, and lines, what was put aside included.
fn size(field: &Field) -> Result<(usize, usize)> {
    let mut all = (0, 0);
    for entry in fs::read_dir(field.path("state").join(SLUG).join("log"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read(&path)?;
            all = (all.0 + text.len(), all.1 + text.iter().filter(|byte| **byte == b'\n').count());
        }
    }
    Ok(all)
}

/// Whether the log comes to have all of these words in one line.
fn is_logged(field: &Field, words: &[&str]) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let log = field.log()?;
        if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn held_if_logged(field: &Field, words: &[&str]) -> Result<Verdict> {
    Ok(Verdict::succeeded_if(!is_logged(field, words)?, "it is not in the log"))
}

/// The operator closes a host and lets the agent have another; the guest then has all the time there
/// is, which a small file stands for.
fn decisions(field: &mut Field) -> Result<Verdict> {
    field.up_with("", &[("BOTTLE_LOG_SEGMENT", "2048")])?;
    ensure!(field.operator(&["deny", SLUG, "closed.test"])?.is_well(), "deny");
    ensure!(field.operator(&["allow", SLUG, "open.test"])?.is_well(), "allow");
    flood(field, 40, 30, 100)?;
    thread::sleep(Duration::from_millis(500));
    let logs = field.operator(&["logs", SLUG])?.text();
    let kept = [
        ["rules", "denied", "rule=closed.test"],
        ["rules", "allowed", "rule=open.test"],
        ["keeper", "started", ""],
    ];
    let there = |words: &[&str; 3]| logs.lines().any(|line| words.iter().all(|word| line.contains(word)));
    Ok(Verdict::succeeded_if(!kept.iter().all(there), "decisions are gone from the log"))
}

/// Requests of 60 KB, one after the other.
fn long_requests(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    flood(field, 1, 200, 60_000)?;
    thread::sleep(Duration::from_millis(500));
    let (bytes, _) = size(field)?;
    Ok(Verdict::succeeded_if(bytes > 1 << 20, format!("200 requests made the log {bytes} bytes long")))
}

/// Names that are all different, so that none of them repeats.
fn names(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    flood(field, 2000, 1, 10)?;
    thread::sleep(Duration::from_millis(500));
    let (_, lines) = size(field)?;
    // Every one of them is in the count all the same.
    let stopped = field.operator(&["stop", SLUG])?;
    ensure!(stopped.is_well(), "stop: {}", stopped.text());
    let count = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["reason"] == "host").then(|| line["repeated"].as_u64().unwrap_or(1))
    };
    let counted: u64 = field.log()?.lines().filter_map(count).sum();
    ensure!(counted == 2000, "{counted} of 2000 refusals are in the log");
    Ok(Verdict::succeeded_if(lines > 1000, format!("2000 names made {lines} lines")))
}

/// Datagrams to addresses that are all different.
fn frames(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest(
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
    let (_, lines) = size(field)?;
    Ok(Verdict::succeeded_if(lines > 1000, format!("3000 datagrams made {lines} lines")))
}

/// The guest has older lines rotated away; the operator asks whether the log is whole.
fn gap(field: &mut Field) -> Result<Verdict> {
    field.up_with("", &[("BOTTLE_LOG_SEGMENT", "2048")])?;
    flood(field, 40, 30, 100)?;
    thread::sleep(Duration::from_millis(500));
    let check = field.operator(&["audit", SLUG, "--check"])?;
    ensure!(
        !field.path("state").join(SLUG).join("log/audit.000001.jsonl").exists(),
        "nothing was rotated away"
    );
    let told =
        check.status.and_then(|status| status.code()) == Some(3) && check.text().contains("rotated away");
    Ok(Verdict::succeeded_if(!told, format!("lines are gone, and the check says: {}", check.text())))
}

/// Bytes that are no HTTP.
fn not_http(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest("printf '\\0\\1\\2 knock\\r\\n\\r\\n' | curl -sS -m 5 telnet://${HTTP_PROXY#http://} >/dev/null 2>&1 || true")?;
    held_if_logged(field, &["pipelock", "refused", "not-http"])
}

/// An absolute-form request for https, which is answered 400.
fn https_by_get(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest(
        "python3 -c '
import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"HTTP_PROXY\"])
s = socket.create_connection((door.hostname, door.port), 5)
s.sendall(b\"GET https://evil.test/ HTTP/1.1\\r\\nhost: evil.test\\r\\n\\r\\n\")
assert b\" 400 \" in s.recv(100)
'",
    )?;
    held_if_logged(field, &["pipelock", "refused", "scheme", "evil.test"])
}

/// A length that no frame has, on the socket that leaves the machine.
fn framing(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest(
        "python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(\"/run/bottle.sock\")
s.recv(4)
s.sendall(b\"\\xff\\xff\\xff\\xff\")
try:
    s.recv(1)
except OSError:
    pass
'",
    )?;
    held_if_logged(field, &["link", "refused", "framing"])
}

/// A knock at every path of a sidecar.
fn nowhere(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    field.guest("curl -sS -m 5 -d '{}' $BOTTLE_SUPERVISE/admin > /dev/null")?;
    held_if_logged(field, &["supervise", "refused", "/admin"])
}

/// A tunnel through which nothing is ever said.
fn silent_tunnel(field: &mut Field) -> Result<Verdict> {
    let server = crate::secure::Secure::serve([127, 77, 9, 1].into(), &["quiet.test"])?;
    field.up("[egress]\nallow = [\"quiet.test\"]\nhosts = { \"quiet.test\" = \"127.77.9.1\" }\n")?;
    field.guest(
        "python3 -c '
import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"HTTP_PROXY\"])
s = socket.create_connection((door.hostname, door.port), 5)
s.sendall(b\"CONNECT quiet.test:443 HTTP/1.1\\r\\nhost: quiet.test:443\\r\\n\\r\\n\")
assert b\" 200 \" in s.recv(100)
'",
    )?;
    let verdict = held_if_logged(field, &["pipelock", "refused", "not-tls", "quiet.test"]);
    drop(server);
    verdict
}

/// A keeper that a guest has taken over answers a command of the operator's, and never stops.
fn endless_answer(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    let control = field.path("run").join(SLUG).join("control.sock");
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
    let before = field.memory();
    let ended = field.operator(&["status", SLUG])?;
    fs::remove_file(&control)?;
    fs::rename(control.with_extension("old"), &control)?;
    let took = ended.peak.saturating_sub(before) >> 20;
    Ok(Verdict::succeeded_if(took > 200, format!("`bottle status` took {took} MiB")))
}
