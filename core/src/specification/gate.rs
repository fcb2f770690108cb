//! The repositories that git-gate serves.

use crate::git::Policy;
use crate::slug::Slug;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// A repository that the agent clones from and pushes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repo {
    /// The last part of its URL, before `.git`. It has the form of a slug.
    pub name: Slug,
    /// The absolute path of the operator's own repository, which is read and never written.
    pub path: String,
    /// Where approved pushes go, as configured: one of the repository's remotes, or a URL.
    pub upstream: String,
    /// The URL that `upstream` stood for at the start; `None` if there is no such remote.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether the guest can write to the repository.
    #[serde(default)]
    pub writable: bool,
    /// Whether a guest could write to it before this start.
    #[serde(default)]
    pub exposed: bool,
    /// What may be pushed.
    #[serde(default)]
    pub policy: Policy,
}
