//! The result of the host's half of `bottle verify`.

use bottle_core::sidecar::Sidecar;
use serde::{Deserialize, Serialize};

/// What an examination came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// How many frames were sent.
    pub frames: u64,
    /// What passed the guard and is for no door.
    pub passed: Vec<String>,
    /// What answered behind the guard and is no door.
    pub answered: Vec<String>,
    /// Frames whose refusal has to be an answer and was a silence.
    pub silent: u64,
    /// Why not everything was sent, if it was not.
    pub cut_short: Option<String>,
    /// The doors, each asked before and after everything else.
    pub doors: Vec<Door>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// A door, asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[derive(schemars::JsonSchema)]
pub struct Door {
    /// What is behind it.
    pub sidecar: Sidecar,
    /// Its port on the proxy's address.
    pub port: u16,
    /// Why it did not answer before everything else, if it did not.
    pub before: Option<String>,
    /// The same afterwards.
    pub after: Option<String>,
}
