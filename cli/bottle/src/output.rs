//! Types of `--json` output that no other crate has.

use crate::lifecycle::observe::Row;
use bottle_core::egress::{HostRule, Rules};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::text::ImageDigest;
use bottle_host::audit::Entry;
use bottle_host::control;
use bottle_host::usage::Usage;
use bottle_host::workspace::changes::Change;
use bottle_sidecars::git::quarantine;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

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
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Way {
    /// How the guest would reach it.
    pub by: By,
    /// Whether that works.
    pub open: bool,
    /// What would happen, for a person.
    pub says: String,
    /// Why not, as the log names it and `bottle explain` takes it.
    pub reason: Option<String>,
    /// The command that would open it, if there is one.
    pub remedy: Option<String>,
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

impl By {
    /// Returns it in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Direct => "directly",
            Self::Proxy => "through the proxy",
            Self::Upstream => "by an upstream",
        }
    }
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
    /// A machine of the pool that nobody keeps is removed.
    RemoveWarm,
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
    /// The commands that made it of that image, if a setup did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
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

/// One line of the list that `bottle stats --json` prints, and a line of `bottle stats --json --follow`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Stat {
    /// The bottle.
    pub bottle: Slug,
    /// How much of one processor it took during the last second, in tenths of a percent: two processors at work
    /// make 2000.
    pub cpu_permille: u64,
    /// How many processors its guest has.
    pub cpus: Option<u8>,
    /// The most memory that its guest may have, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// What its machine's process has used so far.
    pub used: Usage,
    /// What crossed its link, if its keeper answers.
    pub network: Option<Network>,
}

/// What crossed a guest's link since its keeper started.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Network {
    /// The bytes from the guest that were passed on.
    pub bytes_from_guest: u64,
    /// The bytes to the guest that were passed on.
    pub bytes_to_guest: u64,
    /// How many frames from the guest were refused.
    pub refused: u64,
}

/// What `bottle inspect` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspected {
    /// The bottle, as `bottle ls --json` lists it.
    pub bottle: Row,
    /// The project that it was made for.
    pub project: Option<String>,
    /// The plan of its last start. The values of variables and the commands of a setup are hidden.
    pub plan: Option<Plan>,
    /// The current rules: those of the plan, and every change since.
    pub rules: Option<Rules>,
    /// What its keeper says, if it has one.
    pub status: Option<Box<control::Status>>,
    /// The repositories that git-gate serves. Their URLs are left out, because they may carry passwords.
    pub repositories: Option<Vec<Slug>>,
    /// The guest's copy of the project, if it works on one.
    pub copy: Option<InspectedCopy>,
    /// Whether a setup was carried out on its machine's disk.
    pub is_set_up: bool,
    /// Its state folder.
    pub state: PathBuf,
    /// The log of what its parts decided.
    pub audit: PathBuf,
    /// The log of what operators decided.
    pub decisions: PathBuf,
    /// The keeper's own output.
    pub keeper_log: PathBuf,
}

/// A guest's copy of a project.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InspectedCopy {
    /// The project that it is a copy of.
    pub of: PathBuf,
    /// Where it is.
    pub path: PathBuf,
}

/// A line of `bottle events --json`: a line of a bottle's log, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Event<'a> {
    /// The bottle.
    pub bottle: &'a Slug,
    /// The line.
    #[serde(flatten)]
    pub entry: &'a Entry,
}

/// What `bottle top --json` prints: the guest's own word, like everything that comes from inside of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Top {
    /// The processes that the guest told of, the busiest first.
    pub processes: Vec<GuestProcess>,
    /// How many more there were, or lines that could not be read.
    pub left_out: usize,
}

/// A process of a guest, as the guest tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct GuestProcess {
    /// Its number in the guest.
    pub pid: u32,
    /// The number of its user in the guest.
    pub uid: u32,
    /// The processor time that it took, in milliseconds.
    pub cpu_ms: u64,
    /// Its resident memory, in bytes.
    pub memory_bytes: u64,
    /// Its command line.
    pub command: String,
}

/// What `bottle suggest --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Suggestions {
    /// Rules that would have let through what was refused, most refused first.
    pub hosts: Vec<Suggested>,
    /// What was refused and is not suggested.
    pub not: Vec<NotSuggested>,
    /// How many more there are of both.
    pub left_out: usize,
}

/// A rule for a host that was refused.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Suggested {
    /// The rule, for `egress.allow`.
    pub rule: HostRule,
    /// How often it was refused.
    pub times: u64,
}

/// A destination that was refused, for which no rule is suggested.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NotSuggested {
    /// The destination, as the guest named it.
    pub host: String,
    /// Why no rule is suggested, as the end of a sentence.
    pub why: String,
    /// How often it was refused.
    pub times: u64,
}

/// What `bottle config --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OwnDefaults {
    /// Where the file is, or belongs.
    pub file: PathBuf,
    /// Whether it is there.
    pub exists: bool,
    /// The keys that it sets.
    pub keys: Vec<OwnDefault>,
    /// The keys that it may set.
    pub may_set: Vec<&'static str>,
}

/// A key that a person's defaults set.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OwnDefault {
    /// The key, with the tables around it.
    pub key: String,
    /// Its value, as it is written there.
    pub value: String,
    /// Its line, counted from 1.
    pub line: usize,
}
