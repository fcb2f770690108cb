//! Which network stack a person asks for.

use serde::Deserialize;

/// The network stack that a person asks for. [`crate::stack::Stack`] says what each one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackChoice {
    /// The installed gvproxy.
    #[default]
    Gvproxy,
    /// The host's kernel.
    Kernel,
}
