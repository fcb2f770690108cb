//! The in-guest half of the conformance checks: tries to reach what it is told to, and says what
//! came of it. It judges nothing; the harness outside does, which knows what the canaries saw.

pub mod canary;
mod dns;
mod local;
mod ping;
mod ports;
pub mod raw;
mod sweep;
mod vsock;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long a destination may stay silent before it counts as silent.
const PATIENCE: Duration = Duration::from_millis(800);

/// Questions that mostly wait are asked so many at a time.
const AT_ONCE: usize = 16;

/// One thing to try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What the answer will be called.
    pub id: String,
    /// What to try.
    pub attempt: Attempt,
}

/// What can be tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// Connect to each of these ports and read what is said first.
    Tcp {
        /// Where.
        address: IpAddr,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// Send a datagram to each of these ports.
    Udp {
        /// Where.
        address: IpAddr,
        /// Which ports.
        ports: Vec<u16>,
    },
    /// Ask a resolver.
    Dns {
        /// Whom.
        server: SocketAddr,
        /// Over TCP instead of UDP.
        tcp: bool,
        /// About which name.
        name: String,
        /// Of which type.
        kind: u16,
    },
    /// Connect, say this, and read the answer.
    Say {
        /// Where.
        address: SocketAddr,
        /// What.
        text: String,
    },
    /// The same again and again, until the answer holds a word or the time is over.
    Until {
        /// Where.
        address: SocketAddr,
        /// What.
        text: String,
        /// The word that is waited for.
        wanted: String,
        /// How long, in seconds.
        seconds: u64,
    },
    /// Stop the helper, take its socket, and write these frames; or, where it is no frame, these bytes.
    Raw {
        /// The socket.
        socket: String,
        /// Frames in hexadecimal, each to be sent with its length before it.
        frames: Vec<String>,
        /// How often the first of them is sent once more: a flood.
        flood: u32,
        /// Bytes in hexadecimal, sent as they are afterwards.
        bytes: Vec<String>,
    },
    /// The same with one frame, a TCP SYN or a UDP datagram, to each port from 1 to 65535.
    Ports {
        /// The socket.
        socket: String,
        /// The frame in hexadecimal.
        frame: String,
    },
    /// Send an ICMP echo request.
    Ping {
        /// Whom.
        address: Ipv4Addr,
    },
    /// Connect to each of these vsock ports and read what is said first.
    Vsock {
        /// The context identifier: 2 is the host.
        cid: u32,
        /// The first port.
        first: u32,
        /// The last port.
        last: u32,
    },
    /// Ask libkrun's socket impersonation (TSI) for a connection, as its guest kernel would.
    Tsi {
        /// Where to.
        address: SocketAddrV4,
    },
    /// Connect to a Unix socket and read what is said first.
    Unix {
        /// Its path, or its name among the abstract ones.
        name: String,
        /// Whether it is an abstract one.
        is_abstract: bool,
    },
    /// Read a file of the host.
    Read {
        /// Its path there.
        path: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question's name.
    pub id: String,
    /// What was said, by port. For frames: what came back, in hexadecimal.
    pub said: Vec<(u16, String)>,
    /// Ports that took a connection, whether or not they said something.
    pub accepted: Vec<u16>,
    /// The same for vsock, whose ports have 32 bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vsock: Vec<u32>,
    /// How many refused at once.
    pub refused: usize,
    /// How many stayed silent until patience ended.
    pub silent: usize,
    /// How many could not be tried, with the last error.
    pub failed: usize,
    /// The last error.
    pub error: String,
    /// How long it all took, in milliseconds.
    pub ms: u64,
}

/// `bottle-guest probe`: questions on standard input, a JSON array; answers on standard output,
/// one JSON line each, in the same order.
pub fn main() -> Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let questions: Vec<Question> = serde_json::from_str(&text).context("the questions")?;
    let mut out = std::io::stdout();
    for group in questions.chunk_by(|a, b| a.waits() && b.waits()) {
        for some in group.chunks(AT_ONCE) {
            let answers: Vec<_> = thread::scope(|scope| {
                let asked: Vec<_> = some.iter().map(|question| scope.spawn(|| question.ask())).collect();
                asked.into_iter().map(|answer| answer.join().unwrap_or_default()).collect()
            });
            for answer in answers {
                writeln!(out, "{}", serde_json::to_string(&answer)?)?;
                out.flush()?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Question {
    /// Whether it mostly waits, and so can be asked beside others.
    fn waits(&self) -> bool {
        match self.attempt {
            Attempt::Dns { .. }
            | Attempt::Udp { .. }
            | Attempt::Say { .. }
            | Attempt::Ping { .. }
            | Attempt::Tsi { .. } => true,
            Attempt::Tcp { first, last, .. } => first == last,
            _ => false,
        }
    }

    fn ask(&self) -> Answer {
        let since = Instant::now();
        let mut answer = match &self.attempt {
            Attempt::Tcp { address, first, last } => sweep::tcp(*address, *first..=*last),
            Attempt::Udp { address, ports } => sweep::udp(*address, ports),
            Attempt::Dns { server, tcp, name, kind } => dns::ask(*server, *tcp, name, *kind),
            Attempt::Say { address, text } => sweep::say(*address, text),
            Attempt::Until { address, text, wanted, seconds } => {
                sweep::say_until(*address, text, wanted, Duration::from_secs(*seconds))
            }
            Attempt::Raw { socket, frames, flood, bytes } => raw::write(socket, frames, *flood, bytes),
            Attempt::Ports { socket, frame } => ports::sweep(socket, frame),
            Attempt::Ping { address } => ping::ask(*address),
            Attempt::Vsock { cid, first, last } => vsock::ports(*cid, *first..=*last),
            Attempt::Tsi { address } => vsock::impersonate(*address),
            Attempt::Unix { name, is_abstract } => local::connect(name, *is_abstract),
            Attempt::Read { path } => local::read(path),
        };
        answer.id = self.id.clone();
        answer.ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        answer
    }
}

impl Answer {
    /// An answer that says only why nothing could be tried.
    fn failed(error: &impl ToString) -> Self {
        Self { failed: 1, error: error.to_string(), ..Self::default() }
    }

    /// Counts an error for what it means: a refusal, silence, or something else.
    fn count(&mut self, error: &std::io::Error) {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::ConnectionReset | Kind::PermissionDenied => self.refused += 1,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NotFound => self.refused += 1,
            Kind::TimedOut | Kind::WouldBlock => self.silent += 1,
            _ => {
                self.failed += 1;
                self.error = error.to_string();
            }
        }
    }
}

/// Bytes as text that a report can show.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
