//! Puts canaries on everything of the host that a guest might reach.

use anyhow::{Context, Result, bail};
use bottle_guest::probe::Attempt;
use bottle_verify::canaries::Canaries;
use bottle_verify::questions::Questions;
use bottle_verify::scope::{Breadth, Canary};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The host's addresses besides loopback's. They are from the ranges for documentation, plus the one where
/// clouds serve metadata. The namespace is the harness's own, so they lead nowhere.
pub const ADDRESSES: [(&str, &str); 3] =
    [("lan", "192.0.2.10"), ("public", "198.51.100.20"), ("metadata", "169.254.169.254")];

/// The canaries: name, address, port.
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

/// The port of the witness's page, which must be reachable through a door.
pub const WITNESS_PORT: u16 = 18_080;

/// Returns the canaries that have an address.
pub fn known_canaries() -> Vec<Canary> {
    let known = |(name, address, port): (&str, &str, u16)| {
        Some(Canary { name: name.to_owned(), address: SocketAddr::new(address.parse().ok()?, port) })
    };
    CANARIES.into_iter().filter_map(known).collect()
}

/// A host with canaries, in the harness's own network namespace.
pub struct HostCanaries {
    canaries: Canaries,
    /// The name of the abstract Unix socket among the canaries.
    pub abstract_socket: String,
    /// The folder with the Unix socket and the file among the canaries.
    pub files: tempfile::TempDir,
    /// The file that replaces the host's resolver configuration. It is kept as long as it is mounted.
    _resolver: tempfile::NamedTempFile,
}

impl HostCanaries {
    /// Sets up the canaries.
    pub fn new() -> Result<Self> {
        let placed = Canaries::new()?;
        ip(&["link", "set", "lo", "up"])?;
        for (_, address) in ADDRESSES {
            ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        let _resolver = own_resolver()?;
        for Canary { name, address } in known_canaries() {
            placed.listen(&name, address)?;
        }
        resolver_canary(&placed)?;
        tcp_witness(placed.nonce())?;
        let files = tempfile::Builder::new().prefix("bottle-canary-").tempdir()?;
        // Every user of this host can read it, so its mode is not what keeps a guest out.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(files.path().join(FILE), placed.says("file"))?;
        let abstract_socket = format!("bottle-canary-{}", placed.nonce());
        let hidden = UnixAddress::from_abstract_name(&abstract_socket)?;
        placed.listen_unix("abstract socket", UnixListener::bind_addr(&hidden)?);
        placed.listen_unix("socket", UnixListener::bind(files.path().join(SOCKET))?);
        placed.heard("abstract socket", UnixStream::connect_addr(&hidden)?)?;
        placed.heard("socket", UnixStream::connect(files.path().join(SOCKET))?)?;
        placed.check(&known_canaries())?;
        Ok(Self { canaries: placed, abstract_socket, files, _resolver })
    }

    /// Returns this run's number, which every canary sends.
    pub fn nonce(&self) -> &str {
        self.canaries.nonce()
    }

    /// Returns what the canaries saw.
    pub fn leaks(&self) -> Vec<String> {
        self.canaries.leaks()
    }

    /// Adds attempts at the canaries that have no address.
    pub fn ask_for_files(&self, questions: &mut Questions, state: &Path) {
        let name = self.abstract_socket.clone();
        questions.ask("unix abstract canary", Attempt::Unix { name, is_abstract: true });
        let path = |name: &str| self.files.path().join(name).to_string_lossy().into_owned();
        questions.ask("unix path canary", Attempt::Unix { name: path(SOCKET), is_abstract: false });
        questions.ask("file canary", Attempt::Read { path: path(FILE) });
        questions.ask(
            "file in the state folder",
            Attempt::Read { path: state.join(FILE).to_string_lossy().into_owned() },
        );
    }

    /// Copies the file among the canaries into another folder.
    pub fn put_file(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::copy(self.files.path().join(FILE), folder.join(FILE))?;
        Ok(())
    }

    /// Returns the ports to try if not every port is tried: those of the canaries.
    pub fn sample(&self) -> Breadth {
        let mut ports: Vec<u16> =
            CANARIES.map(|(_, _, port)| port).into_iter().filter(|port| *port > 100).collect();
        ports.push(WITNESS_PORT);
        ports.sort_unstable();
        ports.dedup();
        Breadth::Sample(ports)
    }
}

/// The names of the file and the socket among the canaries.
const FILE: &str = "canary";
const SOCKET: &str = "canary.sock";

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Makes programs in this namespace ask the resolver canary.
fn own_resolver() -> Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new().prefix("bottle-resolv-").tempfile()?;
    fs::write(file.path(), "nameserver 127.0.0.1\n")?;
    // smolvm's machine runs as another user, and must be able to read it.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    let status = Command::new("mount").arg("--bind").arg(file.path()).arg("/etc/resolv.conf").status()?;
    if !status.success() {
        bail!("the namespace cannot have a resolver of its own");
    }
    Ok(file)
}

/// Runs the host's resolver, which records each query and answers that the name does not exist.
fn resolver_canary(canaries: &Canaries) -> Result<()> {
    let here = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 53);
    let (udp, tcp) = (UdpSocket::bind(here)?, TcpListener::bind(here)?);
    let (by_udp, by_tcp) = (canaries.clone(), canaries.clone());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((read, from)) = udp.recv_from(&mut buffer) {
            by_udp.note("resolver", format!("udp {}", name_in(&buffer[..read])));
            let _ = udp.send_to(&no_such_name(&buffer[..read]), from);
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).unwrap_or(0);
            by_tcp.note("resolver", format!("tcp {}", name_in(buffer[..read].get(2..).unwrap_or_default())));
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

/// Serves the witness's page. This is not a canary: a door leads to it.
fn tcp_witness(nonce: &str) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", WITNESS_PORT))?;
    let nonce = nonce.to_owned();
    thread::spawn(move || answer_all(&listener, &nonce));
    Ok(())
}

/// Serves the witness's page as a sidecar.
///
/// # Errors
/// Returns an error if the port cannot be bound.
pub fn serve_witness(port: u16, nonce: &str) -> Result<()> {
    answer_all(&TcpListener::bind(("127.0.0.1", port))?, nonce);
    Ok(())
}

/// Answers every connection as long as the listener works.
pub fn answer_all(listener: &TcpListener, nonce: &str) {
    while let Ok((mut stream, _)) = listener.accept() {
        let nonce = nonce.to_owned();
        thread::spawn(move || answer_witness(&mut stream, &nonce));
    }
}

/// Answers one HTTP request with the nonce.
fn answer_witness(stream: &mut TcpStream, nonce: &str) {
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
