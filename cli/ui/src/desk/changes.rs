//! A guest's changes in its copy of the project.

use bottle_core::slug::Slug;
use bottle_host::difference::Difference;
use serde::{Deserialize, Serialize};

/// What a guest changed in its copy of the project.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Changes {
    /// The project that it is a copy of.
    pub project: String,
    /// The paths that differ, in their order.
    pub files: Vec<ChangedFile>,
    /// How many more there are.
    pub more: usize,
    /// How many changed files have extended attributes, which stay in the guest.
    pub with_attributes: usize,
}

/// A changed path.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedFile {
    /// A digest of its path, which stands for it.
    pub key: String,
    /// A digest of what was seen of it.
    pub digest: String,
    /// Its path.
    pub path: String,
    /// `A`, `M` or `D`, as in git.
    pub letter: char,
    /// Why it stays in the guest, if it does.
    pub kept: Option<String>,
    /// Whether it may be applied.
    pub may_be_applied: bool,
    /// Whether applying it overwrites a change of the operator's own.
    pub conflict: bool,
    /// What differs. It is left out where there is too much of it.
    pub difference: Option<Difference>,
}

/// A path that was picked, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picked {
    /// The digest of its path.
    pub key: String,
    /// The digest of what was seen of it.
    pub digest: String,
}

/// Which changes to apply.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The bottle.
    pub bottle: Slug,
    /// The paths, each as it was seen.
    pub picked: Vec<Picked>,
}
