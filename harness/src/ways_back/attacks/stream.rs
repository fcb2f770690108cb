//! Attacks on the keeper by a guest that talks to its socket by hand, where the guest's own kernel is the
//! network stack.

use super::peer::END_HELPER;
use crate::ways_back::attack::Attack;
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Result, ensure};
use bottle_host::defence::Defence;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const CONFIG: &str = "[network]\nstack = \"sockets\"\n";

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("stream-to-a-port-of-the-host", Defence::DoorsOnly, port_of_the_host),
        Attack::new("stream-to-a-port-of-the-host-after-a-door", Defence::DoorsOnly, after_a_door),
        Attack::new("stream-flood-of-reports", Defence::CountedRefusals, reports_flood),
        Attack::new("stream-of-a-stranger", Defence::Peer, of_a_stranger),
    ]
}

/// A Python program for the guest that talks to the keeper's socket. It contains no single quotes.
const BY_HAND: &str = r#"
import os, socket, struct, time, urllib.parse
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect("/run/bottle.sock"); return s
def chunk(data): return struct.pack(">I", len(data)) + data
def stream(port, data):
    s = connect(); s.sendall(struct.pack(">H", port) + chunk(data))
    try: return s.recv(100)
    except OSError as error: return repr(error).encode()
def exact(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data)); assert more, "closed"; data += more
    return data
def whole(s):
    heard = b""
    while n := struct.unpack(">I", exact(s, 4))[0]: heard += exact(s, n)
    return heard
def after_a_door(port, data):
    s = connect(); s.sendall(struct.pack(">H", door) + chunk(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n") + bytes(4))
    assert whole(s).startswith(b"HTTP/1.1") and exact(s, 1) == b"\1", "it is not offered"
    s.sendall(struct.pack(">H", port) + chunk(data))
    try: return s.recv(100)
    except OSError as error: return repr(error).encode()
def reports():
    s = connect(); s.sendall(bytes(2)); assert s.recv(4) == b"btl1"; return s
def question(name):
    dns = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + bytes([0, 0, 1, 0, 1])
    udp = struct.pack(">4H", 40000, 53, 8 + len(dns), 0) + dns
    ends = bytes([192, 0, 2, 1, 192, 0, 2, 2])
    head = lambda check: struct.pack(">2B3H2BH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, check) + ends
    total = sum(struct.unpack(">10H", head(0)))
    return bytes(12) + struct.pack(">H", 0x800) + head(0xffff ^ ((total & 0xffff) + (total >> 16))) + udp
door = urllib.parse.urlparse(os.environ["HTTP_PROXY"]).port
"#;

fn by_hand(script: &str) -> String {
    format!("python3 -c '{BY_HAND}{script}\n'")
}

/// What the service says to whoever connects.
const SAYS: &str = "the service of the host";

/// Serves something on the host's loopback that no guest may reach, and returns its port.
fn service() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(SAYS.as_bytes());
        }
    });
    Ok(port)
}

/// A guest names the port of something that listens on the host's loopback.
fn port_of_the_host(target: &mut Target) -> Result<Verdict> {
    reach(target, "stream")
}

/// A guest does so on a connection that carried a stream to a door before, and was offered for another.
fn after_a_door(target: &mut Target) -> Result<Verdict> {
    reach(target, "after_a_door")
}

/// Opens a stream to the host's port with this function of [`BY_HAND`], after one to a door, which has to work.
fn reach(target: &mut Target, function: &str) -> Result<Verdict> {
    target.up(CONFIG)?;
    let port = service()?;
    let door =
        target.guest(&by_hand(&format!("print({function}(door, b\"GET / HTTP/1.1\\r\\n\\r\\n\"))")))?;
    ensure!(door.contains("HTTP/1.1"), "a stream to a door works: {door}");
    let said = target.guest(&by_hand(&format!("print({function}({port}, b\"hello\"))")))?;
    Ok(Verdict::succeeded_if(said.contains(SAYS), format!("the guest heard {said}")))
}

/// Twenty thousand reports, each about another name. A living helper would take its place back.
fn reports_flood(target: &mut Target) -> Result<Verdict> {
    target.up(CONFIG)?;
    target.guest(END_HELPER)?;
    target.guest(&by_hand(
        "s = reports()\nfor at in range(20000): s.sendall(chunk(bytes([at % 28]) + question(b\"n%d\" % at)))\ntime.sleep(1)",
    ))?;
    ensure!(target.operator(&["status", SLUG])?.is_success(), "the keeper answers");
    let lines = target.log()?.lines().count();
    ensure!(lines > 1, "the reports are in the log");
    Ok(Verdict::succeeded_if(lines > 2_000, format!("20000 reports made {lines} lines")))
}

/// A process on this host that is not the machine opens a stream to a door.
fn of_a_stranger(target: &mut Target) -> Result<Verdict> {
    target.up(CONFIG)?;
    let port: u16 = target.guest("echo ${HTTP_PROXY##*:}")?.trim().parse()?;
    let mut stranger = UnixStream::connect(target.path("run/t/guest.sock"))?;
    stranger.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let length = u32::try_from(request.len())?.to_be_bytes();
    // It may be disconnected before it has sent everything.
    let _ = stranger.write_all(&[&port.to_be_bytes()[..], &length, request].concat());
    let mut heard = Vec::new();
    let _ = stranger.take(100).read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard).into_owned();
    Ok(Verdict::succeeded_if(heard.contains("HTTP/1.1"), format!("a stranger heard {heard}")))
}
