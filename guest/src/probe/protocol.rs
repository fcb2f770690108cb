//! Questions to a probe, and its answers.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// One thing to try, with a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The name, which the answer repeats.
    pub id: String,
    /// The attempt to make.
    pub attempt: Attempt,
}

/// An attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// Connect to each of these ports and read what the other side sends first.
    Tcp {
        /// The address.
        address: IpAddr,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// Send a datagram to each of these ports.
    Udp {
        /// The address.
        address: IpAddr,
        /// The ports.
        ports: Vec<u16>,
    },
    /// Ask a resolver.
    Dns {
        /// The resolver's address.
        server: SocketAddr,
        /// Whether to ask over TCP instead of UDP.
        tcp: bool,
        /// The name to ask about.
        name: String,
        /// The type of the query.
        kind: u16,
    },
    /// Connect, send a text, and read the answer.
    Say {
        /// The address.
        address: SocketAddr,
        /// The text.
        text: String,
    },
    /// Do the same repeatedly, until the answer contains a word or the time is over.
    Until {
        /// The address.
        address: SocketAddr,
        /// The text.
        text: String,
        /// The word to wait for.
        wanted: String,
        /// The time, in seconds.
        seconds: u64,
    },
    /// Stop the helper, take its socket, and write these frames and bytes.
    Raw {
        /// The socket.
        socket: String,
        /// Frames in hexadecimal. Each is sent after its length.
        frames: Vec<String>,
        /// How many more times to send the first frame, as a flood.
        flood: u32,
        /// Bytes in hexadecimal, sent afterwards as they are.
        bytes: Vec<String>,
    },
    /// Do the same with one frame, a TCP SYN or a UDP datagram, for each port from 1 to 65535.
    Ports {
        /// The socket.
        socket: String,
        /// The frame in hexadecimal.
        frame: String,
    },
    /// Ask the keeper for a stream to each of these ports, without the helper.
    Streams {
        /// The keeper's socket.
        socket: String,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// Write these bytes to the keeper's socket, each string on its own connection, and then open many
    /// connections that say nothing.
    Lies {
        /// The keeper's socket.
        socket: String,
        /// Bytes in hexadecimal.
        bytes: Vec<String>,
    },
    /// Send an ICMP echo request.
    Ping {
        /// The address.
        address: Ipv4Addr,
    },
    /// Connect to each of these vsock ports and read what the other side sends first.
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
        /// The destination.
        address: SocketAddrV4,
    },
    /// Connect to a Unix socket and read what the other side sends first.
    Unix {
        /// Its path, or the name of an abstract socket.
        name: String,
        /// Whether it is an abstract socket.
        is_abstract: bool,
    },
    /// Read a file of the host.
    Read {
        /// Its path on the host.
        path: String,
    },
}

/// The result of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The question's name.
    pub id: String,
    /// What the other side sent, by port. For frames it is what came back, in hexadecimal.
    pub said: Vec<(u16, String)>,
    /// Ports that accepted a connection, whether or not anything was sent.
    pub accepted: Vec<u16>,
    /// The same for vsock, whose ports have 32 bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vsock: Vec<u32>,
    /// How many attempts were refused at once.
    pub refused: usize,
    /// How many got no response in time.
    pub silent: usize,
    /// How many could not be made.
    pub failed: usize,
    /// The last error.
    pub error: String,
    /// How long everything took, in milliseconds.
    pub ms: u64,
}
