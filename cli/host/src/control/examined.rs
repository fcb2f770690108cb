//! The result of the host's half of `bottle verify`.

use bottle_core::sidecar::Sidecar;
use serde::{Deserialize, Serialize};

/// The result of an examination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The number of frames that were sent.
    pub frames: u64,
    /// Frames that passed the guard although they are for no door.
    pub passed: Vec<String>,
    /// Destinations behind the guard that answered although they are no door.
    pub answered: Vec<String>,
    /// How many refusals were silent although they should have been answers.
    pub silent: u64,
    /// Why some frames were not sent, if some were not.
    pub cut_short: Option<String>,
    /// The doors, each tried before and after everything else.
    pub doors: Vec<Door>,
    /// How long the examination took, in milliseconds.
    pub ms: u64,
}

/// A door that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Door {
    /// The sidecar behind it.
    pub sidecar: Sidecar,
    /// Its port on the proxy's address.
    pub port: u16,
    /// Why it did not answer before everything else, if it did not.
    pub before: Option<String>,
    /// Why it did not answer afterwards, if it did not.
    pub after: Option<String>,
}
