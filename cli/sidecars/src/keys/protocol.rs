//! Messages between the keeper and the process that holds the keys.

use bottle_core::egress::HostName;
use serde::{Deserialize, Serialize};

/// From the keeper: what to do with the two connections that come with this, a socket to the keeper and the TCP
/// connection that it opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// Speak TLS to the origin of this upstream, and pass requests on with its key.
    Upstream(usize),
    /// Ask the parent proxy for a tunnel to this host and port, and leave the connection to the keeper.
    Tunnel { host: HostName, port: u16 },
    /// Pass requests for plain HTTP on to the parent proxy, with its login.
    Plain,
}

/// From the process that holds the keys: the response to this request contained a key, and was cut off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyFound {
    pub request: String,
}
