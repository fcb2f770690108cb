//! What `--json` prints, where it is not a type of another crate.

use bottle_core::slug::Slug;
use bottle_host::control;
use bottle_host::workspace::changes::Change;
use bottle_sidecars::git::quarantine;
use schemars::JsonSchema;
use serde::Serialize;

/// What `bottle diff --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Diff<'a> {
    /// What the guest changed.
    pub changes: Vec<&'a Change>,
    /// What `bottle apply --digest` takes.
    pub digest: String,
}

/// One line of the list that `bottle inbox --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Asked<'a> {
    /// Whose agent asks.
    pub bottle: &'a Slug,
    /// What `bottle approve` and `bottle refuse` call it.
    pub id: String,
    /// What it asks for.
    pub request: &'a control::Waiting,
}

/// One line of the list that `bottle git SLUG list --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pushed<'a> {
    /// What was pushed.
    pub push: &'a quarantine::Waiting,
    /// The repository.
    pub repo: &'a Slug,
}
