//! Why a repository cannot be served.

/// A repository that cannot be served as a whole, and so is not served at all.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {help}")]
pub struct Unservable {
    /// What is wrong with it.
    pub what: String,
    /// The command that helps.
    pub help: String,
}

impl Unservable {
    /// Creates the error from what is wrong and what helps.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}
