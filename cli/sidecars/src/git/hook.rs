//! The hooks that git runs while the agent pushes. They inspect the push, decide about it, and explain the
//! decision in the push's output.

use super::child::Git;
use super::objects::NewObjects;
use super::quarantine::{Quarantine, UPSTREAM, Waiting};
use super::{judge, scan};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::listed::Command;
use bottle_core::git::name::{ObjectId, is_pushable};
use bottle_core::git::path::Touched;
use bottle_core::git::{Refused, Update, Verdict};
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::control::{self, Answer, GitEvent, Request};
use bottle_host::defence::Defence;
use bottle_host::failure::{Kind, Outcome};
use bottle_host::out;
use bottle_host::services;
use bottle_host::state::{Folder, Home};
use bottle_host::trial;
use clap::ValueEnum;
use std::env;
use std::io::Read;
use std::process::ExitCode;

/// The variable that names the hook's bottle.
pub const SLUG: &str = "BOTTLE_GIT_SLUG";
/// The variable that names the hook's repository.
pub const REPO: &str = "BOTTLE_GIT_REPO";
/// The variable with the path of the program that a hook runs: this one.
pub const EXE: &str = "BOTTLE_EXE";

/// The variable with the descriptor of the socket between the hooks and the keeper.
pub const CHANNEL: &str = "BOTTLE_GIT_CHANNEL";

/// How many refs one push may change.
const MAX_REFS: usize = 100;
/// How many bytes git may print about them.
const MAX_SAID: u64 = 1 << 20;

/// A hook, by git's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// Runs before any ref changes. All of them change, or none.
    PreReceive,
    /// Runs after the refs have changed.
    PostReceive,
}

/// Runs a hook.
///
/// # Errors
/// Returns an error if the hook cannot inspect, log or decide. Nothing is pushed then.
pub fn run(hook: Hook) -> Outcome<ExitCode> {
    Ok(match hook {
        Hook::PreReceive => pre_receive(),
        Hook::PostReceive => post_receive(),
    }
    .inspect_err(|error| out::note(format_args!("refused: {}", Line(&format!("{error:#}")))))?)
}

fn bottle_and_repository() -> Result<(Folder, Repo)> {
    let slug = env::var(SLUG)
        .ok()
        .and_then(|slug| slug.parse().ok())
        .with_context(|| format!("{SLUG} does not name a bottle"))?;
    let folder = Home::find()?.bottle(&slug);
    let name = env::var(REPO).with_context(|| format!("{REPO} does not name a repository"))?;
    let repos = services::read(&folder)?.git;
    let repo = repos
        .into_iter()
        .find(|repo| repo.name.as_str() == name)
        .with_context(|| format!("this bottle has no repository {name}"))?;
    Ok((folder, repo))
}

fn pre_receive() -> Result<ExitCode> {
    trial::run("git");
    let (folder, repo) = bottle_and_repository()?;
    let mut refused = false;
    ensure!(
        !Quarantine::of(&folder, &repo).is_full(&repo)?,
        "the quarantine is full: your operator has to decide about the waiting pushes; `bottle restart {}` then makes room",
        folder.slug()
    );
    for command in pushed()? {
        let name = command.name.clone();
        let decided = decide(&repo, &command)?;
        let (event, line) = match &decided {
            Ok(Verdict::Allow) => (GitEvent::Allowed, "goes on to the upstream".to_owned()),
            Ok(_) => {
                (GitEvent::Waiting, format!("waits for your operator: bottle git {} approve", folder.slug()))
            }
            Err(why) => (GitEvent::Refused, format!("refused: {}", Line(&why.to_string()))),
        };
        out::note(format_args!("{}: {line}", Line(&name)));
        let why = decided.as_ref().err().map(ToString::to_string);
        let commit = command.new.map(String::from);
        // A decision that cannot be logged is not made.
        let decision = Request::Git { repo: repo.name.clone(), event, name, commit, why };
        control::demand(&folder, &decision, Kind::Internal)?;
        refused |= decided.is_err();
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn post_receive() -> Result<ExitCode> {
    let (folder, repo) = bottle_and_repository()?;
    // The push was inspected before it was accepted. Only whether to forward it is still to be decided.
    for allowed in pushed()? {
        if repo.policy.decide(&uninspected(&allowed)) != Ok(Verdict::Allow) {
            continue;
        }
        // The keeper has the operator's environment and credentials, and this process does not. The keeper
        // forwards the commit that was judged, wherever the branch points by then.
        let (branch, commit) = (allowed.name.clone(), allowed.new.map(String::from));
        let forward = Request::GitForward { repo: repo.name.clone(), branch, commit };
        match control::ask(&folder, &forward)? {
            Answer::Failed { why } => out::note(format_args!("{}: {}", Line(&allowed.name), Line(&why))),
            _ => out::note(format_args!("{}: the upstream has it", Line(&allowed.name))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the pushed refs, which git lists on standard input, one per line.
fn pushed() -> Result<Vec<Command>> {
    let mut said = Vec::new();
    std::io::stdin().lock().take(MAX_SAID + 1).read_to_end(&mut said)?;
    let lines = said.strip_suffix(b"\n").context("git named no refs")?.split(|byte| *byte == b'\n');
    let commands = lines.map(Command::read).collect::<Result<Vec<_>, _>>()?;
    let few = said.len() as u64 <= MAX_SAID && commands.len() <= MAX_REFS;
    ensure!(
        few || !Defence::GitLimits.stands(),
        "one push may change at most {MAX_REFS} refs: push fewer at a time"
    );
    Ok(commands)
}

fn uninspected(command: &Command) -> Update {
    Update {
        name: command.name.clone(),
        old: command.old.clone().map(String::from),
        new: command.new.clone().map(String::from),
        fast_forward: true,
        paths: Vec::new(),
        secrets: Vec::new(),
    }
}

fn decide(repo: &Repo, command: &Command) -> Result<Result<Verdict, Refused>> {
    if !is_pushable(&command.name) && Defence::GitRefNames.stands() {
        return Ok(Err(Refused::Name));
    }
    let mut update = uninspected(command);
    // A push that is refused anyway does not need inspection.
    if let Err(refused) = repo.policy.decide(&update) {
        return Ok(Err(refused));
    }
    if let (Some(old), Some(new)) = (&command.old, &command.new) {
        update.fast_forward = is_ancestor(old, new)?;
    }
    if let Some(new) = &command.new {
        let commit = format!("{new}^{{commit}}");
        let commit =
            Git::in_hook().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).text();
        let commit: ObjectId = commit.with_context(|| format!("{new} is not a commit"))?.parse()?;
        let objects = NewObjects::of(new, repo.policy.max_mib)?;
        update.paths = if Defence::GitTrees.stands() {
            let upstream = upstream_of(&command.name)?;
            judge::touched(&commit, upstream.as_ref(), &repo.policy.guarded())?
        } else {
            named_in_log(new, &repo.policy.deny_paths)?
        };
        update.secrets = scan::new_objects(new, &objects)?;
        if let Some(what) = scan::matched(command.name.as_bytes()) {
            update.secrets.push(format!("{what} in the branch's name"));
        }
        for secret in &update.secrets {
            out::note(format_args!("{}: a secret: {}", Line(&command.name), Line(secret)));
        }
    }
    Ok(repo.policy.decide(&update))
}

fn is_ancestor(old: &ObjectId, new: &ObjectId) -> Result<bool> {
    let ended = Git::in_hook().args(["merge-base", "--is-ancestor", old.as_str(), new.as_str()]).finish()?;
    match ended.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => bail!("git: {}", ended.stderr),
    }
}

/// Returns the commit that the upstream has for this ref.
fn upstream_of(name: &str) -> Result<Option<ObjectId>> {
    let known = format!("{UPSTREAM}{}^{{commit}}", name.trim_start_matches("refs/"));
    let said =
        Git::in_hook().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &known]).finish()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().parse().ok())
}

/// Returns the guarded paths that git's log lists. For a merge, git lists the paths that differ from both
/// sides.
fn named_in_log(new: &ObjectId, guarded: &[String]) -> Result<Vec<Touched>> {
    let list =
        ["log", "-z", "-c", "--name-only", "--no-renames", "--format=", new.as_str(), "--not", "--all"];
    let said = Git::in_hook().args(list).output()?;
    let paths =
        said.split(|byte| *byte == 0).map(|path| String::from_utf8_lossy(path).trim_start().to_owned());
    let named = |path: &String| guarded.iter().any(|guarded| path.to_lowercase().starts_with(guarded));
    Ok(paths.filter(named).map(|path| Touched { path, leads: false }).collect())
}

/// Returns a push that a rule allows, with the commit that was judged.
///
/// # Errors
/// Returns an error if there is no such commit.
pub fn judged(quarantine: &Quarantine, name: &str, commit: Option<&str>) -> Result<Waiting> {
    if !Defence::ShownIsApproved.stands() {
        let waiting = quarantine.waiting()?.into_iter().find(|waiting| waiting.name == name);
        return waiting.with_context(|| format!("no push of {name} waits"));
    }
    let old = quarantine.upstream_of(name)?;
    Ok(Waiting::of(name, old, commit.map(str::parse).transpose()?))
}
