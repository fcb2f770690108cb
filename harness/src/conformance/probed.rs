//! The answers of a guest in a network.

use anyhow::Result;
use bottle_guest::probe::Answer;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;

/// A guest's answers, and what it was asked.
pub struct Probed {
    pub scope: Scope,
    pub answers: Vec<Answer>,
    pub asked: usize,
    /// Whether the guest has no door that could answer as a witness.
    pub has_no_witness: bool,
}

impl Probed {
    /// Collects a guest's answers to the end.
    pub fn by(talk: Talk, scope: Scope) -> Result<Self> {
        let asked = talk.asked();
        Ok(Self { scope, answers: talk.end()?, asked, has_no_witness: false })
    }
}
