//! Messages between the keeper and the process that holds the keys.

use serde::{Deserialize, Serialize};

/// The keeper's message: connect to this upstream.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Connect {
    pub upstream: usize,
}

/// The other process's message: the response to this request contained a key, and was cut off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyFound {
    pub request: String,
}
