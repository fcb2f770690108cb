//! What a person has to log in with.

/// Credentials for a registry.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password(String, String),
    /// A token that is exchanged for others.
    Identity(String),
}
