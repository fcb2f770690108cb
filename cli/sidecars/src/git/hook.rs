//! What git runs while the agent pushes: it looks, decides, and says so in the push's own output.

use super::child::Git;
use super::objects::New;
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

/// Which bottle a hook is for.
pub const SLUG: &str = "BOTTLE_GIT_SLUG";
/// Which repository.
pub const REPO: &str = "BOTTLE_GIT_REPO";
/// The program that a hook runs: this one.
pub const EXE: &str = "BOTTLE_EXE";

/// The descriptor of the socket on which hooks speak with the keeper.
pub const CHANNEL: &str = "BOTTLE_GIT_CHANNEL";

/// How many refs one push may change, and how much git says of them at most, in bytes.
const MAX_REFS: usize = 100;
const MAX_SAID: u64 = 1 << 20;

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
    Ok(match hook {
        Hook::PreReceive => before(),
        Hook::PostReceive => after(),
    }
    .inspect_err(|error| out::note(format_args!("refused: {}", Line(&format!("{error:#}")))))?)
}

fn place() -> Result<(Folder, Repo)> {
    let slug = env::var(SLUG).ok().and_then(|slug| slug.parse().ok()).context("no bottle is named")?;
    let folder = Home::find()?.bottle(&slug);
    let name = env::var(REPO).context("no repository is named")?;
    let repos = services::read(&folder)?.git;
    let repo = repos.into_iter().find(|repo| repo.name.as_str() == name).context("no such repository")?;
    Ok((folder, repo))
}

fn before() -> Result<ExitCode> {
    trial::run("git");
    let (folder, repo) = place()?;
    let mut refused = false;
    ensure!(
        !Quarantine::of(&folder, &repo).is_full(&repo)?,
        "the quarantine is full: your operator decides about what waits, and `bottle restart {}` makes room",
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
        // Where it cannot be written down, there is no decision.
        let decision = Request::Git { repo: repo.name.clone(), event, name, commit, why };
        control::demand(&folder, &decision, Kind::Internal)?;
        refused |= decided.is_err();
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn after() -> Result<ExitCode> {
    let (folder, repo) = place()?;
    // It was looked at before: what is left to decide is whether it goes on.
    for allowed in pushed()? {
        if repo.policy.decide(&unseen(&allowed)) != Ok(Verdict::Allow) {
            continue;
        }
        // The keeper has the operator's environment, and its credentials with it; this has not. It
        // sends what was judged, whatever the branch has by then.
        let (branch, commit) = (allowed.name.clone(), allowed.new.map(String::from));
        let forward = Request::GitForward { repo: repo.name.clone(), branch, commit };
        match control::ask(&folder, &forward)? {
            Answer::Failed { why } => out::note(format_args!("{}: {}", Line(&allowed.name), Line(&why))),
            _ => out::note(format_args!("{}: the upstream has it", Line(&allowed.name))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is pushed: git says it on standard input, a line for each ref.
fn pushed() -> Result<Vec<Command>> {
    let mut said = Vec::new();
    std::io::stdin().lock().take(MAX_SAID + 1).read_to_end(&mut said)?;
    let lines = said.strip_suffix(b"\n").context("git said nothing")?.split(|byte| *byte == b'\n');
    let commands = lines.map(Command::read).collect::<Result<Vec<_>, _>>()?;
    let few = said.len() as u64 <= MAX_SAID && commands.len() <= MAX_REFS;
    ensure!(few || !Defence::GitLimits.stands(), "one push may change {MAX_REFS} refs at most");
    Ok(commands)
}

fn unseen(command: &Command) -> Update {
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
    let mut update = unseen(command);
    // What is refused anyway need not be looked at.
    if let Err(refused) = repo.policy.decide(&update) {
        return Ok(Err(refused));
    }
    if let (Some(old), Some(new)) = (&command.old, &command.new) {
        update.fast_forward = is_ancestor(old, new)?;
    }
    if let Some(new) = &command.new {
        let commit = format!("{new}^{{commit}}");
        let commit =
            Git::pushed().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).text();
        let commit: ObjectId = commit.context("it is no commit")?.parse()?;
        let objects = New::of(new, repo.policy.max_mib)?;
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
    let ended = Git::pushed().args(["merge-base", "--is-ancestor", old.as_str(), new.as_str()]).end()?;
    match ended.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => bail!("git: {}", ended.complaint),
    }
}

/// What the upstream has under this name.
fn upstream_of(name: &str) -> Result<Option<ObjectId>> {
    let known = format!("{UPSTREAM}{}^{{commit}}", name.trim_start_matches("refs/"));
    let said = Git::pushed().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &known]).end()?;
    Ok(String::from_utf8_lossy(&said.out).trim().parse().ok())
}

/// The guarded paths that git's log names, a merge by what it has of neither side.
fn named_in_log(new: &ObjectId, guarded: &[String]) -> Result<Vec<Touched>> {
    let list =
        ["log", "-z", "-c", "--name-only", "--no-renames", "--format=", new.as_str(), "--not", "--all"];
    let said = Git::pushed().args(list).said()?;
    let paths =
        said.split(|byte| *byte == 0).map(|path| String::from_utf8_lossy(path).trim_start().to_owned());
    let named = |path: &String| guarded.iter().any(|guarded| path.to_lowercase().starts_with(guarded));
    Ok(paths.filter(named).map(|path| Touched { path, leads: false }).collect())
}

/// A push that a rule allows, as it was judged.
///
/// # Errors
/// Where there is no such commit.
pub fn judged(quarantine: &Quarantine, name: &str, commit: Option<&str>) -> Result<Waiting> {
    if !Defence::ShownIsApproved.stands() {
        let waiting = quarantine.waiting()?.into_iter().find(|waiting| waiting.name == name);
        return waiting.with_context(|| format!("nothing waits on {name}"));
    }
    let old = quarantine.upstream_of(name)?;
    Ok(Waiting::of(name, old, commit.map(str::parse).transpose()?))
}
