//! Numbers that nobody can predict.

use sha2::{Digest, Sha256};

/// Derives numbers from the run's nonce. Without the nonce they cannot be predicted.
pub struct Unpredictable<'n>(pub &'n str);

impl Unpredictable<'_> {
    pub fn number(&self, what: &str) -> u32 {
        let digest = Sha256::new().chain_update(self.0).chain_update(what).finalize();
        digest.first_chunk().map_or(0, |head| u32::from_be_bytes(*head))
    }
}
