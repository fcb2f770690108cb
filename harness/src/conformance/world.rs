//! The world: canaries on everything that a guest might reach.

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

/// The canaries, as those who ask for them know them.
pub fn canaries() -> Vec<Canary> {
    let known = |(name, address, port): (&str, &str, u16)| {
        Some(Canary { name: name.to_owned(), address: SocketAddr::new(address.parse().ok()?, port) })
    };
    CANARIES.into_iter().filter_map(known).collect()
}

/// Canaries, in a network namespace of the harness's own.
pub struct World {
    canaries: Canaries,
    /// The name of the abstract Unix socket among the canaries.
    pub abstract_socket: String,
    /// Where the Unix socket with a path and the file among the canaries are.
    pub files: tempfile::TempDir,
    /// What stands in for the host's resolver file. It stays as long as it is mounted.
    _resolver: tempfile::NamedTempFile,
}

impl World {
    /// Puts the canaries up.
    pub fn new() -> Result<Self> {
        let placed = Canaries::new()?;
        ip(&["link", "set", "lo", "up"])?;
        for (_, address) in ADDRESSES {
            ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        let _resolver = own_resolver()?;
        for Canary { name, address } in canaries() {
            placed.listen(&name, address)?;
        }
        resolver_canary(&placed)?;
        tcp_witness(placed.nonce())?;
        let files = tempfile::Builder::new().prefix("bottle-canary-").tempdir()?;
        // For every user of this host: that a guest cannot read it must be no question of modes.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(files.path().join(FILE), placed.says("file"))?;
        let abstract_socket = format!("bottle-canary-{}", placed.nonce());
        let hidden = UnixAddress::from_abstract_name(&abstract_socket)?;
        placed.listen_unix("abstract socket", UnixListener::bind_addr(&hidden)?);
        placed.listen_unix("socket", UnixListener::bind(files.path().join(SOCKET))?);
        placed.heard("abstract socket", UnixStream::connect_addr(&hidden)?)?;
        placed.heard("socket", UnixStream::connect(files.path().join(SOCKET))?)?;
        placed.check(&canaries())?;
        Ok(Self { canaries: placed, abstract_socket, files, _resolver })
    }

    /// This run's number, which every canary says.
    pub fn nonce(&self) -> &str {
        self.canaries.nonce()
    }

    /// What canaries saw.
    pub fn leaks(&self) -> Vec<String> {
        self.canaries.leaks()
    }

    /// Asks a guest for the canaries that are no addresses.
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

    /// Puts the file among the canaries into another folder, too.
    pub fn put_file(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::copy(self.files.path().join(FILE), folder.join(FILE))?;
        Ok(())
    }

    /// The ports that are tried where not every one is: a canary has each of them.
    pub fn sample(&self) -> Breadth {
        let mut ports: Vec<u16> =
            CANARIES.map(|(_, _, port)| port).into_iter().filter(|port| *port > 100).collect();
        ports.push(WITNESS_PORT);
        ports.sort_unstable();
        ports.dedup();
        Breadth::Sample(ports)
    }
}

/// The file among the canaries, and the socket.
const FILE: &str = "canary";
const SOCKET: &str = "canary.sock";

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
    // smolvm's machine runs as a user of its own, and asks the resolver that it can read of.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    let status = Command::new("mount").arg("--bind").arg(file.path()).arg("/etc/resolv.conf").status()?;
    if !status.success() {
        bail!("the world cannot have a resolver of its own");
    }
    Ok(file)
}

/// The host's resolver: records each question and answers that there is no such name.
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

/// The witness's page. It is no canary: it is what a door leads to.
fn tcp_witness(nonce: &str) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", WITNESS_PORT))?;
    let nonce = nonce.to_owned();
    thread::spawn(move || answer_all(&listener, &nonce));
    Ok(())
}

/// The same page as a sidecar that a keeper starts.
///
/// # Errors
/// Where the port cannot be had.
pub fn serve_witness(port: u16, nonce: &str) -> Result<()> {
    answer_all(&TcpListener::bind(("127.0.0.1", port))?, nonce);
    Ok(())
}

/// Answers whoever connects, for as long as the listener works.
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
