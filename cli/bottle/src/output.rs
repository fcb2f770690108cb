//! Types of `--json` output that no other crate has.

use bottle_core::slug::Slug;
use bottle_host::control;
use bottle_host::workspace::changes::Change;
use bottle_sidecars::git::quarantine;
use schemars::JsonSchema;
use serde::Serialize;

/// What `bottle diff --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Diff<'a> {
    /// The changes that the guest made.
    pub changes: Vec<&'a Change>,
    /// The digest for `bottle apply --digest`.
    pub digest: String,
}

/// One line of the list that `bottle inbox --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Asked<'a> {
    /// The bottle whose agent asks.
    pub bottle: &'a Slug,
    /// The name of the request for `bottle approve` and `bottle refuse`.
    pub id: String,
    /// The request.
    pub request: &'a control::Waiting,
}

/// One line of the list that `bottle git SLUG list --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pushed<'a> {
    /// The push that waits.
    pub push: &'a quarantine::Waiting,
    /// The repository.
    pub repo: &'a Slug,
}
