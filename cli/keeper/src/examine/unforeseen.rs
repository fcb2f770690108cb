//! Numbers that nobody can foresee.

use sha2::{Digest, Sha256};

/// Numbers that nobody can foresee who does not know the run's own number.
pub struct Unforeseen<'n>(pub &'n str);

impl Unforeseen<'_> {
    pub fn number(&self, what: &str) -> u32 {
        let digest = Sha256::new().chain_update(self.0).chain_update(what).finalize();
        digest.first_chunk().map_or(0, |head| u32::from_be_bytes(*head))
    }
}
