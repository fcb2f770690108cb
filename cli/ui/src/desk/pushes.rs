//! Pushes that wait.

use bottle_core::slug::Slug;
use bottle_host::difference::Difference;
use serde::{Deserialize, Serialize};

/// A push that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Push {
    /// The repository.
    pub repo: Slug,
    /// A digest of the ref's name, which stands for it.
    pub key: String,
    /// The branch, or a tag's full name.
    pub branch: String,
    /// The pushed commit, or `deleted`.
    pub commit: String,
    /// The number of commits that the upstream does not have.
    pub commits: usize,
    /// The number of the operator's own commits that would be published with it.
    pub own_commits: usize,
    /// The last commit's subject.
    pub subject: String,
    /// Whether the agent pushed it. Otherwise the operator's repository has it.
    pub pushed: bool,
}

/// Names a push.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushName {
    /// The bottle.
    pub bottle: Slug,
    /// The repository.
    pub repo: Slug,
    /// The digest of the ref's name.
    pub key: String,
}

/// A decision about a push.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushDecision {
    /// The bottle.
    pub bottle: Slug,
    /// The repository.
    pub repo: Slug,
    /// The digest of the ref's name.
    pub key: String,
    /// The commit that was seen.
    pub commit: String,
    /// Whether it is approved.
    pub approved: bool,
}

impl PushDecision {
    /// Returns the push that it is about.
    pub fn name(&self) -> PushName {
        PushName { bottle: self.bottle.clone(), repo: self.repo.clone(), key: self.key.clone() }
    }
}

/// What a push would change at its upstream.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// The commit that was compared, or `deleted`.
    pub commit: String,
    /// What was looked for in it, and what was found.
    pub scanned: Vec<String>,
    /// The commits, the comparison, and what was left out, in sentences.
    pub notes: Vec<String>,
    /// The files that differ.
    pub files: Vec<Difference>,
}
