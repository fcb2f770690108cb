//! How a sidecar is served.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// How a person wants a sidecar served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SidecarSpec {
    /// By the keeper itself.
    Builtin,
    /// By a program that the keeper starts; `{port}`, `{slug}` and `{stage}` are filled in.
    Command(Vec<String>),
    /// By a program that is already running.
    Address(SocketAddr),
}

/// How a sidecar is served, with its address decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SidecarForm {
    /// By the keeper itself.
    Builtin,
    /// By a program that the keeper starts.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where it listens.
        address: SocketAddr,
    },
    /// By a program that is already running.
    Address {
        /// Where it listens.
        address: SocketAddr,
    },
}
