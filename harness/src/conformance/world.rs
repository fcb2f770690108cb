//! The world: canaries on everything that a guest might reach.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Addresses that the world has besides loopback's own. They are of the ranges for documentation,
/// and the one that clouds serve metadata on. The namespace is the harness's, so they lead nowhere.
pub const ADDRESSES: [(&str, &str); 3] =
    [("lan", "192.0.2.10"), ("public", "198.51.100.20"), ("metadata", "169.254.169.254")];

/// Where canaries sit: a name, an address, a port.
pub const CANARIES: [(&str, &str, u16); 10] = [
    ("loopback-ssh", "127.0.0.1", 22),
    ("loopback-http", "127.0.0.1", 8080),
    ("loopback-high", "127.0.0.1", 54_321),
    ("loopback-other", "127.0.0.53", 8080),
    ("loopback-v6", "::1", 8080),
    ("lan-http", "192.0.2.10", 80),
    ("lan-high", "192.0.2.10", 8443),
    ("public-https", "198.51.100.20", 443),
    ("public-dns", "198.51.100.20", 53),
    ("metadata", "169.254.169.254", 80),
];

/// The page that witnesses ask for, through a door: the path of reach that must exist.
pub const WITNESS_PORT: u16 = 18_080;

/// What canaries saw, by name.
type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Canaries, in a network namespace of the harness's own.
pub struct World {
    /// This run's number, which every canary says. Only bytes that carry it prove reach.
    pub nonce: String,
    seen: Seen,
    /// What stands in for the host's resolver file. It stays as long as it is mounted.
    _resolver: tempfile::NamedTempFile,
}

impl World {
    /// Puts the canaries up.
    pub fn new() -> Result<Self> {
        let mut random = [0; 12];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        ip(&["link", "set", "lo", "up"])?;
        for (_, address) in ADDRESSES {
            ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        let _resolver = own_resolver()?;
        let seen = Seen::default();
        for (name, address, port) in CANARIES {
            let address = SocketAddr::new(address.parse()?, port);
            tcp_canary(name, address, &nonce, &seen)?;
            udp_canary(name, address, &nonce, &seen)?;
        }
        resolver_canary(&seen)?;
        tcp_witness(&nonce)?;
        Ok(Self { nonce, seen, _resolver })
    }

    /// Forgets what canaries saw so far.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What canaries saw.
    pub fn seen(&self) -> BTreeMap<String, Vec<String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Programs of this world ask the canary's resolver, as those of a host ask theirs.
fn own_resolver() -> Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new().prefix("bottle-resolv-").tempfile()?;
    fs::write(file.path(), "nameserver 127.0.0.1\n")?;
    let status = Command::new("mount").arg("--bind").arg(file.path()).arg("/etc/resolv.conf").status()?;
    if !status.success() {
        bail!("the world cannot have a resolver of its own");
    }
    Ok(file)
}

fn note(seen: &Seen, name: &str, what: String) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let list = seen.entry(name.to_owned()).or_default();
    if list.len() < 100 {
        list.push(what);
    }
}

fn tcp_canary(name: &str, address: SocketAddr, nonce: &str, seen: &Seen) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("{name} at {address}"))?;
    let (name, said, seen) = (name.to_owned(), format!("canary {nonce} {name}\n"), Arc::clone(seen));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            note(&seen, &name, "tcp".to_owned());
            let _ = stream.write_all(said.as_bytes());
        }
    });
    Ok(())
}

fn udp_canary(name: &str, address: SocketAddr, nonce: &str, seen: &Seen) -> Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("{name} at {address}"))?;
    let (name, said, seen) = (name.to_owned(), format!("canary {nonce} {name}\n"), Arc::clone(seen));
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            note(&seen, &name, "udp".to_owned());
            let _ = socket.send_to(said.as_bytes(), from);
        }
    });
    Ok(())
}

/// The host's resolver: records each question and answers that there is no such name.
fn resolver_canary(seen: &Seen) -> Result<()> {
    let here = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 53);
    let (udp, tcp) = (UdpSocket::bind(here)?, TcpListener::bind(here)?);
    let (udp_seen, tcp_seen) = (Arc::clone(seen), Arc::clone(seen));
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((read, from)) = udp.recv_from(&mut buffer) {
            note(&udp_seen, "resolver", format!("udp {}", name_in(&buffer[..read])));
            let _ = udp.send_to(&no_such_name(&buffer[..read]), from);
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).unwrap_or(0);
            note(
                &tcp_seen,
                "resolver",
                format!("tcp {}", name_in(buffer[..read].get(2..).unwrap_or_default())),
            );
        }
    });
    Ok(())
}

fn no_such_name(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    if let Some(flags) = answer.get_mut(2..4) {
        flags.copy_from_slice(&[0x81, 0x83]);
    }
    answer
}

fn name_in(message: &[u8]) -> String {
    let mut name = String::new();
    let mut rest = message.get(12..).unwrap_or_default();
    while let Some((&len, tail)) = rest.split_first()
        && len > 0
        && let Some((label, tail)) = tail.split_at_checked(usize::from(len))
    {
        name.push_str(&String::from_utf8_lossy(label));
        name.push('.');
        rest = tail;
    }
    name
}

/// The witness's page. It is no canary: it is what a door leads to.
fn tcp_witness(nonce: &str) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", WITNESS_PORT))?;
    let nonce = nonce.to_owned();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let nonce = nonce.clone();
            thread::spawn(move || answer_witness(&mut stream, &nonce));
        }
    });
    Ok(())
}

/// Answers one HTTP request with the nonce.
pub fn answer_witness(stream: &mut std::net::TcpStream, nonce: &str) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut buffer = [0; 4096];
    if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        let body = format!("witness {nonce}\n");
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    }
}
