//! `result.json`: how a run went.

use bottle_core::slug::Slug;
use bottle_core::stack::Stack;
use bottle_core::text::ImageDigest;
use bottle_host::confine::InForce;
use bottle_host::control::Snapshot;
use bottle_host::envelope;
use bottle_host::failure::{Failure, Kind};
use bottle_host::workspace::changes::Change;
use bottle_verify::judge::Verdict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a run went, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// The form of this object: `bottle/result/VERSION`.
    pub schema: String,
    /// How far the run is. Everything below is complete once this says `ended`.
    pub state: Progress,
    /// Why it ended, once it has.
    pub reason: Option<Reason>,
    /// The exit status of `bottle run`; `null` while it runs, and if it was killed.
    pub status: Option<u8>,
    /// What went wrong in bottle, if something did. What the guest's command printed is in `stderr`.
    pub error: Option<Why>,
    /// The bottle's name.
    pub bottle: Slug,
    /// The ID of the run, as `--id` gave it.
    pub id: String,
    /// A word that no other run has.
    pub run: String,
    /// The name of the machine that it ran on.
    pub host: String,
    /// The command in the guest.
    pub command: Vec<String>,
    /// The project's folder.
    pub project: PathBuf,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: Option<u64>,
    /// What it used.
    pub resources: Resources,
    /// The versions of what it ran with.
    pub versions: Versions,
    /// SHA-256 digests of what it was made from.
    pub digests: Digests,
    /// What stood between the guest and this machine. `null` before the keeper was ready.
    pub walls: Option<Walls>,
    /// What came of the guest's output.
    pub outputs: Outputs,
    /// The paths that the guest changed in its copy of the project.
    pub changes: Vec<Changed>,
    /// The commits that the guest pushed to git-gate. Each repository's bundle is in `pushes/`.
    pub pushes: Vec<Pushed>,
    /// The verdict in `verify.json`, if that was asked for.
    #[schemars(with = "Option<String>")]
    pub verify: Option<Verdict>,
    /// Results that could not be kept, each with the reason.
    pub missing: Vec<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// The machine does not run yet.
    Starting,
    /// The machine boots, or the command runs.
    Running,
    /// The run has ended, and everything is here.
    Ended,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The command ended by itself.
    Exited,
    /// A signal told bottle to end.
    Terminated,
    /// The time of `--timeout` was over.
    TimedOut,
    /// bottle was killed. Somebody else completed the results.
    Killed,
    /// The run did not start, or bottle ended it. `error` says why.
    Failed,
}

/// Why bottle itself failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The kind of failure, in a word that does not change.
    #[schemars(extend("enum" = Kind::ALL.map(Kind::word)))]
    pub code: String,
    /// What went wrong, for a person.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What a run used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// The processor time of the machine and of bottle's own processes for it, in milliseconds. `null` if bottle was
    /// killed.
    pub cpu_ms: Option<u64>,
    /// The most memory that the machine's processes held, in bytes, looked at once a second. If bottle was killed, the last
    /// looks are not in it, and not in `network`.
    pub memory_peak: u64,
    /// The processors that the machine had.
    pub cpus: u8,
    /// The memory that the machine had, in MiB.
    pub memory_mib: u32,
    /// The frames that passed between the guest and its doors, and those that did not.
    pub network: Option<Snapshot>,
}

/// The versions of what a run ran with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// bottle.
    pub bottle: String,
    /// smolvm, as it names itself.
    pub smolvm: Option<String>,
    /// This machine's kernel.
    pub kernel: String,
}

/// SHA-256 digests of what a run was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Digests {
    /// The bytes of `bottle.toml`, if there was one.
    pub configuration: Option<String>,
    /// The plan, as `plan.json` in the bottle's state has it.
    pub plan: Option<String>,
    /// The image's manifest, if the image came from a registry.
    pub image: Option<ImageDigest>,
    /// The changes, as `bottle diff` names them. `null` without a copy of the project.
    pub changes: Option<String>,
}

/// What stood between the guest and this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Walls {
    /// Whether the guest was a stand-in, which is no wall at all.
    pub stand_in: bool,
    /// The network stack.
    pub stack: Stack,
    /// Whether that was in a jail of its own.
    pub jail: bool,
    /// The limits that the kernel enforced on the keeper.
    pub keeper: InForce,
    /// Whether the machine's process ran behind a seccomp filter, if the kernel said so.
    pub machine_filtered: Option<bool>,
}

/// What came of the guest's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outputs {
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
}

/// What came of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many bytes the guest wrote. If bottle was killed, those that are in the file.
    pub written: u64,
    /// How many of them are in the file: the first ones.
    pub kept: u64,
}

/// A path that the guest changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The path, and how it changed.
    #[serde(flatten)]
    pub change: Change,
    /// Whether it is in `files/`.
    pub file: bool,
    /// Whether it is in `changes.patch`.
    pub patch: bool,
    /// Why it is not in `files/`, if something was in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A branch or tag that the guest pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pushed {
    /// The repository.
    pub repo: Slug,
    /// The ref's full name.
    pub name: String,
    /// The commit, or `null` if the push deletes the ref.
    pub commit: Option<String>,
    /// How many commits of it the upstream does not have.
    pub commits: usize,
    /// Whether the bundle has it.
    pub bundled: bool,
}

impl RunResult {
    /// Returns the result of a run that begins.
    pub fn begun(bottle: Slug, id: String, command: Vec<String>, project: PathBuf) -> Self {
        let host = rustix::system::uname();
        let now = now();
        let host_name = host.nodename().to_string_lossy().into_owned();
        let unique = format!("{host_name} {} {now:?} {bottle}", std::process::id());
        Self {
            schema: envelope::schema("result"),
            state: Progress::Starting,
            reason: None,
            status: None,
            error: None,
            bottle,
            id,
            run: bottle_host::digest::hex(unique.as_bytes())[..16].to_owned(),
            host: host_name,
            command,
            project,
            started_ms: millis(now),
            ended_ms: None,
            resources: Resources::default(),
            versions: Versions {
                bottle: env!("CARGO_PKG_VERSION").to_owned(),
                smolvm: None,
                kernel: host.release().to_string_lossy().into_owned(),
            },
            digests: Digests::default(),
            walls: None,
            outputs: Outputs::default(),
            changes: Vec::new(),
            pushes: Vec::new(),
            verify: None,
            missing: Vec::new(),
        }
    }

    /// Notes that it has ended.
    pub fn end(&mut self, reason: Reason, status: Option<u8>) {
        self.state = Progress::Ended;
        self.reason = Some(reason);
        self.status = status;
        self.ended_ms = Some(millis(now()));
    }
}

impl From<&Failure> for Why {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.kind().word().to_owned(),
            message: failure.what().to_owned(),
            hint: failure.hint().map(str::to_owned),
        }
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
