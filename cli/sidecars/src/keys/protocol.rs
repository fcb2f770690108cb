//! Messages between the keeper and the process that holds the keys.

use serde::{Deserialize, Serialize};

/// From the keeper: connect to this upstream.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Connect {
    pub upstream: usize,
}

/// From the process that holds the keys: the response to this request contained a key, and was cut off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyFound {
    pub request: String,
}
