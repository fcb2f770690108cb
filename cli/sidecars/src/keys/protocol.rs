//! What the keeper and the process that holds the keys say to each other.

use serde::{Deserialize, Serialize};

/// Names the upstream that a connection is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct For {
    pub upstream: usize,
}

/// What this process tells its keeper beside answers: a key was in the answer to this request, which
/// therefore ended there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Echoed {
    pub request: String,
}
