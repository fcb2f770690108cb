//! Types of `--json` output that no other crate has.

use bottle_core::slug::Slug;
use bottle_core::text::ImageDigest;
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

/// What `bottle check --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checked<'a> {
    /// The destination, as it was named.
    pub destination: &'a str,
    /// Whether the guest reaches it in one of these ways.
    pub open: bool,
    /// The ways to it that were checked.
    pub ways: Vec<Way>,
}

/// One way to a destination.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Way {
    /// How the guest would reach it.
    pub by: By,
    /// Whether that works.
    pub open: bool,
    /// What would happen, for a person.
    pub says: String,
}

/// How a guest reaches a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// By a packet to its address, or a query for its name.
    Direct,
    /// Through the egress proxy.
    Proxy,
    /// By a path on the egress proxy's door, to which this machine adds a key.
    Upstream,
}

/// What `bottle cleanup --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cleanup {
    /// What crashes left behind, and what is to be done about it.
    pub steps: Vec<CleanupStep>,
    /// Machines that look like bottles of another state folder. They are left alone.
    pub foreign: Vec<String>,
    /// Whether the steps were carried out.
    pub done: bool,
}

/// One step of a cleanup.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CleanupStep {
    /// The bottle.
    pub bottle: Slug,
    /// What is done.
    pub what: CleanupAction,
    /// The same, for a person.
    pub says: String,
}

/// What is done about something that a crash left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CleanupAction {
    /// A machine without a keeper is stopped. Its disk stays.
    StopMachine,
    /// A keeper without a machine is ended.
    EndKeeper,
    /// The sockets of a bottle that does not run are removed.
    RemoveRuntime,
    /// A machine whose bottle's files are gone is deleted, with its disk.
    DeleteMachine,
    /// The files and the log of a run that has ended are removed.
    RemoveState,
    /// A copy with changes, or perhaps with changes, is left alone.
    Leave,
}

/// One line of the list that `bottle images ls --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredImage {
    /// The name, in full.
    pub image: String,
    /// The digest of the manifest that the name means here.
    pub digest: ImageDigest,
    /// The bytes of all parts, as registries send them.
    pub size: u64,
    /// Whether everything is here that a start needs.
    pub fetched: bool,
    /// The bottles that were made from it.
    pub bottles: Vec<Slug>,
}

/// What `bottle images pull --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pulled {
    /// The name, in full.
    pub image: String,
    /// The digest of the manifest that it means from now on.
    pub digest: ImageDigest,
    /// The bytes of all parts, as registries send them.
    pub size: u64,
    /// What it meant before, if it was looked up before.
    pub was: Option<ImageDigest>,
}

/// What `bottle images rm --json` and `bottle images prune --json` print.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Removed {
    /// The names that were forgotten.
    pub images: Vec<String>,
    /// The bytes on disk that this freed.
    pub freed: u64,
}

/// What `bottle audit --check --json` prints.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ChainCheck {
    /// The number of lines in the log; 0 if one of them is wrong.
    pub lines: usize,
    /// The number of the operator's decisions; 0 if a line is wrong.
    pub decisions: usize,
    /// The lines that were rotated away, if any were.
    pub gone: Option<GoneLines>,
    /// The first wrong line, if there is one.
    pub broken: Option<BrokenLine>,
}

/// Lines of the log that were rotated away.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GoneLines {
    /// How many there were.
    pub lines: u64,
    /// When the first of them was written, in milliseconds since 1970.
    pub from_ms: u64,
    /// When the last of them was written, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A line of the log that is not as it was written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BrokenLine {
    /// The file.
    pub file: String,
    /// Its number in the file, counted from 1.
    pub line: usize,
    /// What is wrong with it, as the end of a sentence.
    pub why: &'static str,
}
