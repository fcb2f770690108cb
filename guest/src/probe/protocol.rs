//! Questions to a probe, and its answers.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

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
