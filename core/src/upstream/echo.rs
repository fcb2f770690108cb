//! Finds a key in an answer that should not have it.
//!
//! An origin that shows a request to whoever made it would show its key to the guest. This looks for
//! the key's bytes as they are; an origin that answers them encoded is not found out, so this is a net
//! below the rules for methods, paths and headers, and no wall.

use alloc::vec::Vec;

/// The shortest secret that is looked for, in bytes: shorter ones are in any text by chance.
pub const SHORTEST: usize = 8;

/// An answer has a key in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer has the upstream's key in it")]
pub struct Echoed;

/// Looks through an answer as it comes. What could be the beginning of a key is held until it is known
/// to be none; all else goes on at once.
#[derive(Clone, Debug)]
pub struct Echo<'s> {
    secrets: &'s [Vec<u8>],
    held: Vec<u8>,
}

/// Whether a whole text has one of the secrets in it.
pub fn has(secrets: &[Vec<u8>], text: &[u8]) -> bool {
    finds(secrets, text, <[u8]>::eq)
}

/// The same for a text whose case was lost, as that of a header's name is.
pub fn has_in_any_case(secrets: &[Vec<u8>], text: &[u8]) -> bool {
    finds(secrets, text, <[u8]>::eq_ignore_ascii_case)
}

fn finds(secrets: &[Vec<u8>], text: &[u8], same: fn(&[u8], &[u8]) -> bool) -> bool {
    let mut long = secrets.iter().filter(|secret| secret.len() >= SHORTEST);
    long.any(|secret| text.windows(secret.len()).any(|part| same(part, secret)))
}

impl<'s> Echo<'s> {
    /// For these secrets.
    pub fn new(secrets: &'s [Vec<u8>]) -> Self {
        Self { secrets, held: Vec::new() }
    }

    /// For these secrets, with what another one held.
    pub fn resume(secrets: &'s [Vec<u8>], held: Vec<u8>) -> Self {
        Self { secrets, held }
    }

    /// Takes a part of the answer, and gives what may go on.
    ///
    /// # Errors
    /// [`Echoed`] where a key is in it. Nothing more may go on then.
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

    /// Gives what is held: nothing comes after it.
    pub fn end(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.held)
    }
}

/// How many of a secret's first bytes are the last ones of a text.
fn begins_at_the_end(secret: &[u8], text: &[u8]) -> usize {
    let longest = text.len().min(secret.len().saturating_sub(1));
    (1..=longest).rev().find(|&len| text.ends_with(&secret[..len])).unwrap_or(0)
}
