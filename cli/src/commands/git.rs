//! `bottle git`: a person looks at what the agent pushed, and decides.

use super::context::Context;
use super::rules::who;
use crate::args::{GitAction, Push};
use crate::failure::{Failure, Kind, Outcome};
use crate::git::Repo;
use crate::git::quarantine::{Quarantine, Waiting};
use crate::keeper::audit;
use crate::keeper::control::{self, GitEvent, Request};
use crate::out::{self, outln};
use crate::resolve::Services;
use crate::state::Folder;
use bottle_core::slug::Slug;
use bottle_core::visible;
use serde_json::json;

pub fn git(context: &Context, slug: &Slug, action: &GitAction) -> Outcome {
    let folder = context.folder(Some(slug.clone()))?;
    if !folder.services().exists() {
        return Err(Failure::new(Kind::NoBottle, format!("there is no bottle {slug}")));
    }
    let repos = Services::read(&folder)?.git;
    if repos.is_empty() {
        return Err(Failure::new(Kind::NoBottle, format!("bottle {slug} has no built-in git-gate"))
            .help("add [git-gate] to bottle.toml, and `bottle restart`"));
    }
    match action {
        GitAction::List { json } => list(&folder, &repos, *json),
        GitAction::Diff(push) => {
            let (repo, waiting) = the_one(&folder, &repos, push)?;
            Ok(Quarantine::of(&folder, repo).show(&waiting)?)
        }
        GitAction::Approve(push) => {
            let (repo, waiting) = the_one(&folder, &repos, push)?;
            let said = Quarantine::of(&folder, repo).forward(repo, &waiting)?;
            if !said.is_empty() {
                out::note(said);
            }
            record(&folder, repo, GitEvent::Approved, &waiting)?;
            context.say(&format!("{} of {} is at its upstream", waiting.branch, repo.name));
            Ok(())
        }
        GitAction::Reject(push) => {
            let (repo, waiting) = the_one(&folder, &repos, push)?;
            Quarantine::of(&folder, repo).reject(&waiting)?;
            record(&folder, repo, GitEvent::Rejected, &waiting)?;
            context.say(&format!("{} of {} is again what its upstream has", waiting.branch, repo.name));
            Ok(())
        }
    }
}

fn list(folder: &Folder, repos: &[Repo], json: bool) -> Outcome {
    let mut rows = Vec::new();
    for repo in repos {
        for waiting in Quarantine::of(folder, repo).waiting()? {
            rows.push((repo, waiting));
        }
    }
    if json {
        let rows: Vec<_> =
            rows.iter().map(|(repo, push)| json!({ "repo": repo.name, "push": push })).collect();
        out::json(&rows)?;
        return Ok(());
    }
    for (repo, waiting) in rows {
        let commit = waiting.new.as_deref().map_or("-", |commit| commit.get(..10).unwrap_or(commit));
        // What the agent wrote must not steer the terminal that shows it.
        let (branch, subject) = (visible::Line(&waiting.branch), visible::Line(&waiting.subject));
        let branch = branch.to_string();
        outln!("{:<20} {branch:<30} {commit:<10} {:>3} commits  {subject}", repo.name, waiting.commits)?;
    }
    Ok(())
}

/// The push that is meant: it need not be named if it is the only one.
fn the_one<'r>(folder: &Folder, repos: &'r [Repo], push: &Push) -> Outcome<(&'r Repo, Waiting)> {
    let usage = |what: String| {
        Failure::new(Kind::Usage, what).help(format!("`bottle git {} list` shows what waits", folder.slug()))
    };
    let mut found = Vec::new();
    for repo in repos.iter().filter(|repo| push.repo.as_ref().is_none_or(|name| repo.name == *name)) {
        for waiting in Quarantine::of(folder, repo).waiting()? {
            let named = |branch: &String| {
                *branch == waiting.branch || *branch == format!("refs/heads/{}", waiting.branch)
            };
            if push.branch.as_ref().is_none_or(named) {
                found.push((repo, waiting));
            }
        }
    }
    let only = found.pop().ok_or_else(|| usage("nothing of that name waits".to_owned()))?;
    if found.is_empty() { Ok(only) } else { Err(usage("several pushes wait: name one".to_owned())) }
}

/// Into the log: by the keeper, whose it is while it lives.
fn record(folder: &Folder, repo: &Repo, event: GitEvent, waiting: &Waiting) -> Outcome {
    let (name, commit) = (waiting.branch.clone(), waiting.new.clone());
    if folder.has_keeper() {
        let request = Request::Git { repo: repo.name.clone(), event, name, commit, why: Some(who()) };
        return control::demand(folder, &request, Kind::Internal);
    }
    let details = json!({ "repo": repo.name, "ref": name, "commit": commit, "why": who() });
    Ok(audit::decided(folder, "git-gate", event.name(), details)?)
}
