//! What git runs while the agent pushes: it looks, decides, and says so in the push's own output.

use super::quarantine::Quarantine;
use super::{Repo, scan};
use crate::confine::trial;
use crate::failure::{Kind, Outcome};
use crate::keeper::control::{self, Answer, GitEvent, Request};
use crate::out;
use crate::resolve::Services;
use crate::state::{Folder, Home};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::{Update, Verdict};
use clap::ValueEnum;
use std::env;
use std::io::{BufRead, Read};
use std::process::{Command, ExitCode, Stdio};

/// Which bottle a hook is for.
pub const SLUG: &str = "BOTTLE_GIT_SLUG";
/// Which repository.
pub const REPO: &str = "BOTTLE_GIT_REPO";
/// The program that a hook runs: this one.
pub const EXE: &str = "BOTTLE_EXE";

/// The descriptor of the socket on which hooks speak with the keeper.
pub const CHANNEL: &str = "BOTTLE_GIT_CHANNEL";

/// The most that is read of what git lists, in bytes. A push that is larger is refused.
const MAX_LIST: u64 = 16 << 20;

/// A hook, by git's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// Before any ref changes: all of them do, or none.
    PreReceive,
    /// After they changed.
    PostReceive,
}

/// Runs a hook.
///
/// # Errors
/// Where it cannot look, log or decide: nothing is pushed then.
pub fn run(hook: Hook) -> Outcome<ExitCode> {
    trial::run("git");
    Ok(match hook {
        Hook::PreReceive => before(),
        Hook::PostReceive => after(),
    }
    .inspect_err(|error| out::note(format_args!("{error:#}")))?)
}

fn place() -> Result<(Folder, Repo)> {
    let slug = env::var(SLUG).ok().and_then(|slug| slug.parse().ok()).context("no bottle is named")?;
    let folder = Home::find()?.bottle(&slug);
    let name = env::var(REPO).context("no repository is named")?;
    let repos = Services::read(&folder)?.git;
    let repo = repos.into_iter().find(|repo| repo.name.as_str() == name).context("no such repository")?;
    Ok((folder, repo))
}

fn before() -> Result<ExitCode> {
    let (folder, repo) = place()?;
    let mut refused = false;
    for mut update in pushed()? {
        look_at(&mut update)?;
        let decided = repo.policy.decide(&update);
        let (event, line) = match &decided {
            Ok(Verdict::Allow) => (GitEvent::Allowed, "goes on to the upstream".to_owned()),
            Ok(_) => {
                (GitEvent::Waiting, format!("waits for your operator: bottle git {} approve", folder.slug()))
            }
            Err(why) => (GitEvent::Refused, format!("refused: {why}")),
        };
        for secret in &update.secrets {
            out::note(format_args!("{}: a secret: {secret}", update.name));
        }
        out::note(format_args!("{}: {line}", update.name));
        let why = decided.as_ref().err().map(ToString::to_string);
        // Where it cannot be written down, there is no decision.
        let decision =
            Request::Git { repo: repo.name.clone(), event, name: update.name, commit: update.new, why };
        control::demand(&folder, &decision, Kind::Internal)?;
        refused |= decided.is_err();
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn after() -> Result<ExitCode> {
    let (folder, repo) = place()?;
    // It was looked at before: what is left to decide is whether it goes on.
    for allowed in pushed()? {
        if repo.policy.decide(&allowed) != Ok(Verdict::Allow) {
            continue;
        }
        let waiting = Quarantine::of(&folder, &repo).waiting_for(&allowed.name)?;
        // The keeper has the operator's environment, and its credentials with it; this has not.
        let forward = Request::GitForward { repo: repo.name.clone(), branch: waiting.branch };
        match control::ask(&folder, &forward)? {
            Answer::Failed { why } => out::note(format_args!("{}: {why}", allowed.name)),
            _ => out::note(format_args!("{}: the upstream has it", allowed.name)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What git says on standard input: a line for each ref, `OLD NEW NAME`. Nothing is known of it yet.
fn pushed() -> Result<Vec<Update>> {
    let commit = |text: &str| (!text.bytes().all(|b| b == b'0')).then(|| text.to_owned());
    let read = |line: std::io::Result<String>| {
        let line = line?;
        let mut words = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            bail!("git said {line:?}")
        };
        let (old, new, name) = (commit(old), commit(new), name.to_owned());
        Ok(Update { name, old, new, fast_forward: true, paths: Vec::new(), secrets: Vec::new() })
    };
    std::io::stdin().lock().lines().map(read).collect()
}

fn look_at(update: &mut Update) -> Result<()> {
    if let (Some(old), Some(new)) = (&update.old, &update.new) {
        update.fast_forward = git().args(["merge-base", "--is-ancestor", old, new]).status()?.success();
    }
    if let Some(new) = &update.new {
        // Each commit that is new here, a merge by what it has of neither side.
        let list = ["log", "-z", "-c", "--name-only", "--no-renames", "--format=", new, "--not", "--all"];
        let listed = listed(git().args(list))?;
        let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        update.paths =
            paths.map(|path| String::from_utf8_lossy(path).trim_start_matches('\n').to_owned()).collect();
        update.secrets = scan::new_commits(new)?;
    }
    Ok(())
}

/// git in the repository that is pushed to, with what was pushed: its environment says where.
pub(super) fn git() -> Command {
    let mut git = Command::new("git");
    git.stdin(Stdio::null()).stderr(Stdio::null());
    git
}

/// What a command prints, as far as that can be looked at.
pub(super) fn listed(command: &mut Command) -> Result<Vec<u8>> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("git")?;
    let mut listed = Vec::new();
    child.stdout.take().context("standard output")?.take(MAX_LIST).read_to_end(&mut listed)?;
    let whole = (listed.len() as u64) < MAX_LIST;
    if !whole {
        child.kill()?;
    }
    let status = child.wait()?;
    ensure!(whole, "the push is too large to be looked at: push less at a time");
    ensure!(status.success(), "git could not list what was pushed");
    Ok(listed)
}
