//! How much a bottle depends on its audit log.

use serde::{Deserialize, Serialize};

/// What happens when a line of the audit log cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Need {
    /// The line is counted as lost, and the bottle carries on.
    #[default]
    BestEffort,
    /// Nothing more is let through until a line can be written again.
    Required,
}
