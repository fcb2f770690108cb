//! Finds an upstream's key in an answer.
//!
//! An origin that repeats a request to whoever made it would show the key to the guest. This looks for the
//! key's bytes as they are and misses a key that the origin encodes. So it is a net below the rules for
//! methods, paths and headers, not a wall.

use alloc::vec::Vec;

/// The shortest secret to look for, in bytes. A shorter one can be in any text by chance.
pub const SHORTEST: usize = 8;

/// The answer contains a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer contains the upstream's key")]
pub struct Echoed;

/// Searches an answer as it arrives. Bytes that could begin a key are held back until it is clear that they
/// do not; everything else goes on at once.
#[derive(Clone, Debug)]
pub struct Echo<'s> {
    secrets: &'s [Vec<u8>],
    held: Vec<u8>,
}

/// Returns whether a whole text contains one of the secrets.
pub fn has(secrets: &[Vec<u8>], text: &[u8]) -> bool {
    finds(secrets, text, <[u8]>::eq)
}

/// Returns the same for text that has lost its case, as a header's name has.
pub fn has_in_any_case(secrets: &[Vec<u8>], text: &[u8]) -> bool {
    finds(secrets, text, <[u8]>::eq_ignore_ascii_case)
}

fn finds(secrets: &[Vec<u8>], text: &[u8], same: fn(&[u8], &[u8]) -> bool) -> bool {
    let mut long = secrets.iter().filter(|secret| secret.len() >= SHORTEST);
    long.any(|secret| text.windows(secret.len()).any(|part| same(part, secret)))
}

impl<'s> Echo<'s> {
    /// Starts a search for these secrets.
    pub fn new(secrets: &'s [Vec<u8>]) -> Self {
        Self { secrets, held: Vec::new() }
    }

    /// Continues a search for these secrets with what another one held back.
    pub fn resume(secrets: &'s [Vec<u8>], held: Vec<u8>) -> Self {
        Self { secrets, held }
    }

    /// Takes a part of the answer and returns the bytes that may go on.
    ///
    /// # Errors
    /// Returns [`Echoed`] if it contains a key. Nothing more may go on then.
    pub fn next(&mut self, part: &[u8]) -> Result<Vec<u8>, Echoed> {
        let mut all = core::mem::take(&mut self.held);
        all.extend_from_slice(part);
        if has(self.secrets, &all) {
            return Err(Echoed);
        }
        let begun = self.secrets.iter().filter(|secret| secret.len() >= SHORTEST);
        let held = begun.map(|secret| begins_at_the_end(secret, &all)).max().unwrap_or(0);
        self.held = all.split_off(all.len() - held);
        Ok(all)
    }

    /// Ends the search and returns what is held back.
    pub fn end(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.held)
    }
}

/// Returns how many of a secret's first bytes are at the end of the text.
fn begins_at_the_end(secret: &[u8], text: &[u8]) -> usize {
    let longest = text.len().min(secret.len().saturating_sub(1));
    (1..=longest).rev().find(|&len| text.ends_with(&secret[..len])).unwrap_or(0)
}
