//! Which network stack a person asks for.

use serde::{Deserialize, Serialize};

/// The network stack that a person asks for. [`crate::stack::Stack`] says what each one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StackChoice {
    /// gvproxy if it is installed, and the guest's own kernel otherwise.
    #[default]
    Auto,
    /// The installed gvproxy.
    Gvproxy,
    /// The guest's own kernel.
    Sockets,
}
